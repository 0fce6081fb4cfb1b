import Kafka
import Telemetry

/// Takes records into a batch: the way of an event from its bytes to columns.
struct RecordIntake: ~Copyable {
  private var decoder: EventDecoder
  private let times: RecordTimeRange
  /// Records that found no place in the batch; they come first in the next one.
  private(set) var held: [HeldRecord] = []

  /// - Parameter times: Records stamped outside are counted and passed over.
  init(rules: DecodingRules, times: RecordTimeRange = .all) {
    decoder = EventDecoder(rules: rules)
    self.times = times
  }

  /// Takes one record. A record that would make the batch touch too many days is held back, and with it those that follow.
  mutating func take(_ record: borrowing Record, into batch: IngestBatch, nowMicros: Int64) {
    if held.isEmpty {
      let source = RecordSource(
        topic: record.topic, partition: record.partition, offset: record.offset,
        timestampMs: record.timestampMs)
      let fits = take(
        source, key: record.key, value: record.value, into: batch, nowMicros: nowMicros,
        packHeaders: { Self.packHeaders(of: record, into: $0) })
      if fits { return }
    }
    held.append(HeldRecord(record))
  }

  /// Takes the held records, as far as the batch has room for their days.
  mutating func takeHeld(into batch: IngestBatch, nowMicros: Int64) {
    var taken = 0
    for record in held {
      let fits = record.withBytes { key, value in
        take(
          record.source, key: key, value: value, into: batch, nowMicros: nowMicros,
          packHeaders: { record.packHeaders(into: $0) })
      }
      guard fits else { break }
      taken += 1
    }
    held.removeFirst(taken)
  }

  /// The first offset of each partition that is held back.
  var firstHeld: [TopicPartitionName: Int64] {
    held.reduce(into: [:]) { first, record in
      let partition = TopicPartitionName(topic: record.source.topic, partition: record.source.partition)
      if first[partition] == nil { first[partition] = record.source.offset }
    }
  }

  /// Forgets what was held back: its partitions will be read again.
  mutating func dropHeld() { held.removeAll() }

  /// Returns false when the record has no place in this batch; the batch is then as it was.
  ///
  /// - Parameter packHeaders: Called when the record's bytes are kept: for each record in a batch that keeps sources, else
  ///   only for one that becomes a dead letter at once. librdkafka allocates a buffer to find that there are no headers.
  private mutating func take(
    _ from: RecordSource, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    into batch: IngestBatch, nowMicros: Int64, packHeaders: (EventBatch) -> ByteRange?
  ) -> Bool {
    let events = batch.events
    let index = events.partitionIndex(topic: from.topic, partition: from.partition)
    let isInRange = times.contains(from.timestampMs)
    guard isInRange, let value else {
      batch.countRecord(partitionIndex: index, bytes: value?.count ?? 0)
      batch.count(partitionIndex: index) { if isInRange { $0.skipped += 1 } else { $0.outOfRange += 1 } }
      return true
    }
    func retained() -> SourceRecord {
      events.retain(
        partitionIndex: index, offset: from.offset, timestampMs: from.timestampMs, key: key, payload: value,
        headers: packHeaders(events))
    }
    let source =
      events.keepsSources
      ? retained()
      : events.unretained(partitionIndex: index, offset: from.offset, timestampMs: from.timestampMs)
    let rowStart = events.rows.count
    var repairs = RepairCounts()
    do throws(Rejection) {
      let facts = try decoder.decode(
        value, at: RecordCoordinates(topic: from.topic, partition: from.partition, offset: from.offset),
        nowMicros: nowMicros, into: &events.rows, repairs: &repairs)
      if events.wouldExceed(maxDays: batch.maxDays, for: facts.key.createdAt) {
        events.discard(rowStart: rowStart, source: source)
        return false
      }
      if events.add(facts, rowStart: rowStart, source: source) {
        events.repairs.add(repairs)
      } else {
        batch.count(partitionIndex: index) { $0.repeated += 1 }
      }
    } catch {
      events.reject(error, rowStart: rowStart, source: events.keepsSources ? source : retained())
    }
    batch.countRecord(partitionIndex: index, bytes: value.count)
    return true
  }

  private static func packHeaders(of record: borrowing Record, into events: EventBatch) -> ByteRange? {
    let start = events.sources.count
    record.forEachHeader { name, value in
      var name = name
      name.withUTF8 {
        RecordHeaders.append(name: UnsafeRawBufferPointer($0), value: value, to: &events.sources)
      }
    }
    return events.headerRange(from: start)
  }
}

extension EventBatch {
  /// The headers that were packed into `sources` since `start`; nil when there were none.
  func headerRange(from start: Int) -> ByteRange? {
    sources.count == start ? nil : ByteRange(offset: start, count: sources.count - start)
  }
}

/// Where a record comes from.
struct RecordSource {
  var topic: String
  var partition: Int32
  var offset: Int64
  var timestampMs: Int64
}

/// A copy of a record, for one that has to wait for the next batch.
struct HeldRecord {
  let source: RecordSource
  private let key: [UInt8]?
  private let value: [UInt8]?
  private let headers: [Header]

  init(_ record: borrowing Record) {
    source = RecordSource(
      topic: record.topic, partition: record.partition, offset: record.offset, timestampMs: record.timestampMs
    )
    key = record.key.map { Array($0) }
    value = record.value.map { Array($0) }
    headers = record.headers()
  }

  func packHeaders(into events: EventBatch) -> ByteRange? {
    let start = events.sources.count
    for header in headers {
      var name = header.name
      name.withUTF8 { name in
        let name = UnsafeRawBufferPointer(name)
        if let value = header.value {
          value.withUnsafeBytes { RecordHeaders.append(name: name, value: $0, to: &events.sources) }
        } else {
          RecordHeaders.append(name: name, value: nil, to: &events.sources)
        }
      }
    }
    return events.headerRange(from: start)
  }

  func withBytes<Result>(
    _ body: (_ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?) -> Result
  ) -> Result {
    (key ?? []).withUnsafeBytes { keyBytes in
      (value ?? []).withUnsafeBytes { valueBytes in
        body(key == nil ? nil : keyBytes, value == nil ? nil : valueBytes)
      }
    }
  }
}
