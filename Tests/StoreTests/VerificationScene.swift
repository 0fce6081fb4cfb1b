import Foundation
import Logging
import Postgres
import Store
import Telemetry
import TestSupport

/// A schema with events that a worker stored, and what a verification says of it.
struct VerificationScene {
  let database: TestDatabase
  /// 2026-03-15T12:34:56Z.
  static let nowMs: Int64 = 1_773_578_096_000
  static let topic = "chat-telemetry"

  init() throws { database = try TestDatabase() }

  func events(_ count: Int, seed: UInt64, spanMs: Int64 = 3 * 86_400_000) -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in .random(&random, nowMs: Self.nowMs, spanMs: spanMs) }
  }

  func writer() throws -> VerificationWriter { try VerificationWriter(database) }

  /// Two folded batches and one that is pending.
  func fill(_ count: Int, spanMs: Int64 = 3 * 86_400_000) throws {
    let writer = try writer()
    let events = events(count, seed: 7, spanMs: spanMs)
    for third in 0..<3 {
      try writer.write(events[(third * count / 3)..<((third + 1) * count / 3)].map(\.json))
      if third < 2 { try fold() }
    }
  }

  func fold() throws { try database.rows("SELECT @.chat_telemetry_fold()") }

  func verify(
    from: Int64? = nil, to: Int64? = nil, limit: Int = 100,
    largeDayBytes: Int64 = Verification.defaultLargeDayBytes
  ) throws -> VerificationReport {
    try Verification(
      connection: try database.connect(), schema: database.schema, limit: limit, largeDayBytes: largeDayBytes
    ).run(from: from, to: to)
  }

  /// What a verification finds, one text for each difference.
  func found(largeDayBytes: Int64 = Verification.defaultLargeDayBytes) throws -> [String] {
    try verify(largeDayBytes: largeDayBytes).differences.map(\.text)
  }
}

extension VerificationReport.Difference {
  /// Without the key: `table measure expected stored`.
  var text: String { "\(table) \(measure) \(expected ?? "-") \(stored ?? "-")" }
  var place: String { "\(table) \(measure)" }
}

/// Stores events as a worker does.
final class VerificationWriter {
  private let store: BatchStore
  private var next: Int64 = 0

  init(_ database: TestDatabase) throws {
    var logger = Logger(label: "test")
    logger.logLevel = .error
    store = BatchStore(
      connection: try database.connect(), options: database.options, schema: database.schema, group: "test",
      recentKeys: 10_000, onHolderEnded: { _, _ in })
    try store.positions.insertStarts([partition: 0], clusterID: "c1")
  }

  private var partition: TopicPartitionName {
    TopicPartitionName(topic: VerificationScene.topic, partition: 0)
  }

  func write(_ values: [String]) throws {
    let batch = EventBatch()
    var decoder = EventDecoder(rules: DecodingRules(maxAgeDays: 1_000_000))
    let index = batch.partitionIndex(topic: VerificationScene.topic, partition: 0)
    let nowMs = VerificationScene.nowMs
    for (place, value) in values.enumerated() {
      let offset = next + Int64(place)
      try Array(value.utf8).withUnsafeBytes { payload in
        let source = batch.retain(
          partitionIndex: index, offset: offset, timestampMs: nowMs, key: nil, payload: payload, headers: nil)
        let start = batch.rows.count
        let facts = try decoder.decode(
          payload, at: RecordCoordinates(topic: VerificationScene.topic, partition: 0, offset: offset),
          nowMicros: nowMs * 1_000, into: &batch.rows, repairs: &batch.repairs)
        batch.add(facts, rowStart: start, source: source)
      }
    }
    let advance = PositionAdvance(
      partition: partition, from: next, to: next + Int64(values.count), lastRecordTimestampMs: nowMs)
    guard case .committed = try store.write(batch, advances: [advance], nowMicros: nowMs * 1_000) else {
      throw NotCommitted()
    }
    next += Int64(values.count)
  }

  struct NotCommitted: Error {}
}
