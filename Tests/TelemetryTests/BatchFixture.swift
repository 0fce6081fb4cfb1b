import Telemetry

/// A generator whose numbers are the same in every run (SplitMix64), so that a failure can be repeated.
struct RepeatableNumbers: RandomNumberGenerator {
  var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

/// An event as a test sees it, with its texts beside it.
struct SampleEvent {
  var createdAt: Int64
  var id: UInt64
  var domain: String?
  var model: String
  var durationMs: Int64?
  var costMicros: Int64?
  var inputTokens: Int64 = 0
  var outputTokens: Int64 = 0
  var searches: Int64 = 0
  var iterations: Int64 = 0
  var success = true

  init(_ createdAt: Int64, id: UInt64 = 0, domain: String? = nil, model: String = "") {
    self.createdAt = createdAt
    self.id = id
    self.domain = domain
    self.model = model
  }

  /// An event with everything drawn by chance, some of it missing.
  init(_ createdAt: Int64, domain: String?, model: String, from numbers: inout RepeatableNumbers) {
    self.init(createdAt, id: numbers.next(), domain: domain, model: model)
    let largest = Int64(Int32.max)
    durationMs = Int.random(in: 0..<5, using: &numbers) == 0 ? nil : .random(in: 0...90_000, using: &numbers)
    costMicros =
      Int.random(in: 0..<5, using: &numbers) == 0 ? nil : .random(in: 0...999_999_999_999, using: &numbers)
    inputTokens = .random(in: 0...largest, using: &numbers)
    outputTokens = .random(in: 0...largest, using: &numbers)
    searches = .random(in: 0...9, using: &numbers)
    iterations = .random(in: 0...largest, using: &numbers)
    success = .random(using: &numbers)
  }

  var key: EventKey { EventKey(createdAt: createdAt, idHigh: id, idLow: ~id) }
}

extension EventBatch {
  /// Takes an event the way the pipeline does: its record first, then its row, whose bytes here are its texts.
  @discardableResult
  func take(
    _ event: SampleEvent, offset: Int64 = 0, key: String? = nil, payload: String = "{}",
    headers: [(name: [UInt8], value: [UInt8]?)] = []
  ) -> Bool {
    let record = retainSample(offset: offset, key: key, payload: payload, headers: headers)
    let start = rows.count
    var facts = EventFacts(key: event.key)
    facts.durationMs = event.durationMs
    facts.costMicros = event.costMicros
    facts.inputTokens = event.inputTokens
    facts.outputTokens = event.outputTokens
    facts.searches = event.searches
    facts.iterations = event.iterations
    facts.success = event.success
    facts.domain = event.domain.map { appendToRow($0) }
    facts.model = appendToRow(event.model)
    return add(facts, rowStart: start, source: record)
  }

  /// Puts a record's bytes into the batch.
  func retainSample(
    offset: Int64 = 0, key: String? = nil, payload: String,
    headers: [(name: [UInt8], value: [UInt8]?)] = []
  ) -> SourceRecord {
    let start = sources.count
    for header in headers {
      header.name.withUnsafeBytes { name in
        if let value = header.value {
          value.withUnsafeBytes { RecordHeaders.append(name: name, value: $0, to: &sources) }
        } else {
          RecordHeaders.append(name: name, value: nil, to: &sources)
        }
      }
    }
    let packed = headers.isEmpty ? nil : ByteRange(offset: start, count: sources.count - start)
    return Array(payload.utf8).withUnsafeBytes { payload in
      retain(key: key.map { Array($0.utf8) }, offset: offset, payload: payload, headers: packed)
    }
  }

  private func retain(
    key: [UInt8]?, offset: Int64, payload: UnsafeRawBufferPointer, headers: ByteRange?
  ) -> SourceRecord {
    let partition = partitionIndex(topic: "chat-telemetry", partition: 3)
    func retain(_ key: UnsafeRawBufferPointer?) -> SourceRecord {
      self.retain(
        partitionIndex: partition, offset: offset, timestampMs: 1_700_000_000_000, key: key, payload: payload,
        headers: headers)
    }
    return key.map { $0.withUnsafeBytes { retain($0) } } ?? retain(nil)
  }

  private func appendToRow(_ text: String) -> ByteRange {
    let start = rows.count
    Array(text.utf8).withUnsafeBytes { rows.append($0) }
    return ByteRange(offset: start, count: rows.count - start)
  }
}
