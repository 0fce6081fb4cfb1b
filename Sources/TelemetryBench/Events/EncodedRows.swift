import Foundation
import Telemetry

/// Events in COPY's binary format, in batches sorted by key, made by the worker's own decoder.
struct EncodedRows: Sendable {
  struct Batch: Sendable {
    var bytes: [UInt8]
    var rows: Int
  }

  let batches: [Batch]
  /// The UTC days that the rows touch, days since 1970-01-01.
  let days: [Int32]

  var count: Int { batches.reduce(0) { $0 + $1.rows } }

  /// The records of a set without those that repeat another, `batchEvents` records to a batch.
  init(_ events: EventSet, batchEvents: Int) throws {
    var builder = BatchBuilder()
    let batch = EventBatch(expectedEvents: batchEvents)
    var batches: [Batch] = []
    var days: Set<Int32> = []
    let records = events.sequence.count
    var seen = [Bool](repeating: false, count: events.count)
    for start in stride(from: 0, to: records, by: batchEvents) {
      for record in start..<min(records, start + batchEvents) where !seen[events.sequence[record]] {
        seen[events.sequence[record]] = true
        try builder.add(events, record..<record + 1, to: batch)
      }
      days.formUnion(batch.days)
      var bytes: [UInt8] = []
      bytes.reserveCapacity(batch.rows.count)
      for row in batch.sortedOrder() { bytes.append(contentsOf: batch.row(row)) }
      batches.append(Batch(bytes: bytes, rows: batch.count))
      batch.removeAll()
    }
    self.batches = batches
    self.days = days.sorted()
  }

  private init(batches: [Batch], days: [Int32]) {
    self.batches = batches
    self.days = days
  }

  /// The first batches, of at least so many events if there are.
  func prefix(events: Int) -> EncodedRows {
    var rows = 0
    let first = batches.prefix { batch in
      defer { rows += batch.rows }
      return rows < events
    }
    return EncodedRows(batches: Array(first), days: days)
  }
}

/// Decodes records into batches, as the worker does.
struct BatchBuilder: ~Copyable {
  private var decoder = EventDecoder(rules: DecodingRules())
  private let nowMicros = Int64(Date().timeIntervalSince1970 * 1e6)
  private static let partition = TopicPartitionName(topic: "bench", partition: 0)

  mutating func add(_ events: EventSet, _ records: Range<Int>, to batch: EventBatch) throws {
    let partition = batch.partitionIndex(topic: Self.partition.topic, partition: Self.partition.partition)
    var offset = Int64(records.lowerBound)
    try events.forEachRecord(records) { key, value in
      let source = batch.retain(
        partitionIndex: partition, offset: offset, timestampMs: -1, key: key, payload: value, headers: nil)
      let rowStart = batch.rows.count
      let facts = try decoder.decode(
        value, at: RecordCoordinates(topic: Self.partition.topic, partition: 0, offset: offset),
        nowMicros: nowMicros, into: &batch.rows, repairs: &batch.repairs)
      batch.add(facts, rowStart: rowStart, source: source)
      offset += 1
    }
  }
}
