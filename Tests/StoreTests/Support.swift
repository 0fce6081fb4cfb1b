import Postgres
import Store
import Telemetry
import TestSupport
import Testing

/// A migrated schema and a clock that stands still.
struct Stage: Sendable {
  let database: TestDatabase
  /// 2026-03-15T12:34:56Z.
  static let nowMs: Int64 = 1_773_578_096_000
  static let topic = "chat-telemetry"

  init(migrated: Bool = true) throws { database = try TestDatabase(migrated: migrated) }
  init(of database: TestDatabase) { self.database = database }

  /// A writer at the stored positions, as a worker has it after it was assigned the partitions.
  func writer(
    partitions: [Int32] = [0], options: ConnectionOptions? = nil, recentKeys: Int = 100_000,
    holderAgeSeconds: Int32 = 10
  ) throws -> Writer {
    let options = options ?? database.options
    let store = BatchStore(
      connection: try Connection(options), options: options, schema: database.schema, group: "test",
      recentKeys: recentKeys, holderAgeSeconds: holderAgeSeconds, onHolderEnded: { _, _ in })
    let names = partitions.map { TopicPartitionName(topic: Self.topic, partition: $0) }
    try store.positions.insertStarts(
      Dictionary(uniqueKeysWithValues: names.map { ($0, Int64(0)) }), clusterID: nil)
    return Writer(store: store, positions: try store.positions.load(topics: [Self.topic]))
  }

  func events(_ count: Int, seed: UInt64, spanMs: Int64 = 3 * 86_400_000) -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in TestEvent.random(&random, nowMs: Self.nowMs, spanMs: spanMs) }
  }

  func truth(_ events: some Sequence<TestEvent>) -> Truth {
    var truth = Truth()
    for event in events { truth.add(event) }
    return truth
  }

  /// What the tables hold that only new events may change, as one text.
  func measures() throws -> [[String?]] {
    try [
      "chat_telemetry", "chat_telemetry_rollups", "chat_telemetry_domain_rollups",
      "chat_telemetry_model_rollups", "chat_telemetry_summary_deltas", "chat_telemetry_sketch_deltas",
      "chat_telemetry_window_deltas",
      "chat_telemetry_pending_batches",
    ].flatMap {
      try database.rows("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM @.\($0) AS t")
    }
  }

  func deadLetters(_ columns: String = "record_offset, reason") throws -> [[String?]] {
    try database.rows(
      "SELECT \(columns) FROM @.chat_telemetry_dead_letters ORDER BY topic, partition, record_offset")
  }

  var storedCount: Int64 {
    get throws { try database.number("SELECT count(*) FROM @.chat_telemetry") }
  }

  var nextOffset: Int64 {
    get throws { try database.number("SELECT next_offset FROM @.chat_telemetry_offsets WHERE partition = 0") }
  }
}

/// Records of one partition, one behind the other.
struct Delivery: Sendable {
  var partition: Int32 = 0
  var from: Int64
  var values: [String]
  var timestampMs: Int64 = Stage.nowMs
  var key: String?

  var to: Int64 { from + Int64(values.count) }
  var advance: PositionAdvance {
    PositionAdvance(
      partition: TopicPartitionName(topic: Stage.topic, partition: partition), from: from, to: to,
      lastRecordTimestampMs: timestampMs)
  }

  /// Decodes the records into a batch, as the pipeline does; returns how many of them the batch held already.
  @discardableResult
  func decode(into batch: EventBatch, _ decoder: inout EventDecoder) -> Int {
    let index = batch.partitionIndex(topic: Stage.topic, partition: partition)
    var repeated = 0
    for (place, value) in values.enumerated() {
      let offset = from + Int64(place)
      Array(value.utf8).withUnsafeBytes { payload in
        let source = Array((key ?? "").utf8).withUnsafeBytes { keyBytes in
          batch.retain(
            partitionIndex: index, offset: offset, timestampMs: timestampMs, key: key == nil ? nil : keyBytes,
            payload: payload, headers: nil)
        }
        let start = batch.rows.count
        do throws(Rejection) {
          let facts = try decoder.decode(
            payload, at: RecordCoordinates(topic: Stage.topic, partition: partition, offset: offset),
            nowMicros: Stage.nowMs * 1_000, into: &batch.rows, repairs: &batch.repairs)
          if !batch.add(facts, rowStart: start, source: source) { repeated += 1 }
        } catch {
          batch.reject(error, rowStart: start, source: source)
        }
      }
    }
    return repeated
  }
}

/// A worker's writing part: a store and the positions that it believes in.
final class Writer {
  let store: BatchStore
  private(set) var next: [Int32: Int64] = [:]
  /// From where the batch began whose parts are written, by partition; empty between batches.
  private var begun: [Int32: Int64] = [:]

  init(store: BatchStore, positions: [TopicPartitionName: StoredPosition]) {
    self.store = store
    for (name, position) in positions { next[name.partition] = position.nextOffset }
  }

  /// Writes one batch of these records.
  func write(_ deliveries: [Delivery], keepsSources: Bool = true) throws -> WriteOutcome {
    try write(deliveries, keepsSources: keepsSources, isLast: true)
  }

  /// Writes a part of a batch. The first one locks the positions of all partitions.
  func write(_ deliveries: [Delivery], keepsSources: Bool = true, isLast: Bool) throws -> WriteOutcome {
    let batch = EventBatch()
    batch.keepsSources = keepsSources
    // Old enough for the tests of times before 1970.
    var decoder = EventDecoder(rules: DecodingRules(maxAgeDays: 1_000_000))
    for delivery in deliveries { delivery.decode(into: batch, &decoder) }
    let isFirst = begun.isEmpty
    for delivery in deliveries where begun[delivery.partition] == nil {
      begun[delivery.partition] = delivery.from
    }
    let advances = begun.keys.sorted().map { partition in
      let moved = deliveries.first { $0.partition == partition }
      return PositionAdvance(
        partition: TopicPartitionName(topic: Stage.topic, partition: partition), from: begun[partition]!,
        to: moved?.to ?? next[partition]!, lastRecordTimestampMs: Stage.nowMs)
    }
    let others = next.keys.filter { begun[$0] == nil }.sorted().map {
      TopicPartitionName(topic: Stage.topic, partition: $0)
    }
    let part = BatchPart(
      advances: advances, others: isFirst && !isLast ? others : [], isFirst: isFirst, isLast: isLast)
    let outcome: WriteOutcome
    do {
      outcome = try store.write(batch, part, nowMicros: Stage.nowMs * 1_000)
    } catch {
      begun = [:]
      throw error
    }
    switch outcome {
    case .committed, .alreadyCommitted, .appended:
      for delivery in deliveries { next[delivery.partition] = delivery.to }
      if case .appended = outcome { return outcome }
    case .fenced, .recordsNeeded, .partsLost: for (partition, from) in begun { next[partition] = from }
    }
    begun = [:]
    return outcome
  }

  /// Writes parts that must be appended, or committed if the last one is among them.
  @discardableResult
  func append(
    _ events: [TestEvent], partition: Int32 = 0, isLast: Bool = false,
    _ location: SourceLocation = #_sourceLocation
  ) throws -> BatchSummary {
    switch try write(
      [delivery(events.map(\.json), partition: partition)], keepsSources: false, isLast: isLast)
    {
    case .appended(let summary) where !isLast: return summary
    case .committed(let summary) where isLast: return summary
    case let outcome:
      Issue.record(
        "expected \(isLast ? "a commit" : "an open batch"), got \(outcome)", sourceLocation: location)
      throw NotCommitted()
    }
  }

  func delivery(_ values: [String], partition: Int32 = 0) -> Delivery {
    Delivery(partition: partition, from: next[partition]!, values: values)
  }

  /// Writes records that must be committed.
  @discardableResult
  func commit(
    _ values: [String], partition: Int32 = 0, _ location: SourceLocation = #_sourceLocation
  ) throws -> BatchSummary {
    let outcome = try write([delivery(values, partition: partition)])
    guard case .committed(let summary) = outcome else {
      Issue.record("expected a commit, got \(outcome)", sourceLocation: location)
      throw NotCommitted()
    }
    return summary
  }

  @discardableResult
  func commit(
    _ events: [TestEvent], partition: Int32 = 0, _ location: SourceLocation = #_sourceLocation
  ) throws -> BatchSummary {
    try commit(events.map(\.json), partition: partition, location)
  }

  struct NotCommitted: Error {}
}

extension TestEvent {
  /// The event with one more member in its JSON.
  func json(with member: String) -> String { "\(json.dropLast()),\(member)}" }
}
