import Foundation
import Postgres
import Store
import Telemetry

extension TestEvent {
  /// The event's JSON with its time moved by microseconds, for times that milliseconds cannot say.
  public func json(plusMicros micros: Int64) -> String {
    let time = createdAtMs * 1_000 + micros
    let seconds = Date(timeIntervalSince1970: Double(floorDivide(time, 1_000_000)))
    let text = seconds.formatted(.iso8601).dropLast()
    let fraction = String(time - floorDivide(time, 1_000_000) * 1_000_000 + 1_000_000).dropFirst()
    return json.replacing("\"created_at\":\(createdAtMs)", with: "\"created_at\":\"\(text).\(fraction)Z\"")
  }

  private func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    Int64((Double(value) / Double(divisor)).rounded(.down))
  }
}

/// Writes events as a worker does, at the server's time, and enters them into a table of the test's own, `truth`, which
/// PostgreSQL fills from the same JSON: what the worker makes of an event is no part of it.
public final class EventStore {
  public let database: TestDatabase
  private let store: BatchStore
  private let partition: TopicPartitionName
  private var next: Int64 = 0

  public init(_ database: TestDatabase, partition: Int32 = 0) throws {
    self.database = database
    self.partition = TopicPartitionName(topic: "chat-telemetry", partition: partition)
    store = BatchStore(
      connection: try database.connect(), options: database.options, schema: database.schema, group: "test",
      recentKeys: 1, onHolderEnded: { _, _ in })
    try store.positions.insertStarts([self.partition: 0], clusterID: nil)
    try database.execute(
      """
      CREATE TABLE IF NOT EXISTS @.truth (
        id uuid, created_at timestamptz, domain text, model text, duration_ms integer, input_tokens integer,
        output_tokens integer, cost_usd numeric, search_count integer, iterations integer, success boolean,
        PRIMARY KEY (created_at, id))
      """)
  }

  /// Writes one batch.
  public func write(_ events: [TestEvent]) throws { try write(events.map { $0.json(plusMicros: 0) }) }

  /// Writes one batch of events as JSON.
  public func write(_ events: [String]) throws {
    let nowMicros = try database.number("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    let batch = EventBatch()
    var decoder = EventDecoder(rules: DecodingRules())
    for (place, json) in events.enumerated() {
      try decode(json, at: next + Int64(place), nowMicros: nowMicros, into: batch, &decoder)
    }
    let advance = PositionAdvance(
      partition: partition, from: next, to: next + Int64(events.count),
      lastRecordTimestampMs: nowMicros / 1_000)
    guard case .committed = try store.write(batch, advances: [advance], nowMicros: nowMicros) else {
      throw NotWritten(what: "a batch of \(events.count) events was fenced off")
    }
    next = advance.to
    var parameters = Parameters()
    parameters.append("[\(events.joined(separator: ","))]")
    try database.connect().query(
      database.sql(
        """
        INSERT INTO @.truth SELECT id, created_at, nullif(btrim(domain), ''), model, duration_ms, input_tokens,
          output_tokens, cost_usd, search_count, iterations, success
        FROM jsonb_to_recordset($1::text::jsonb) AS e (
          id uuid, created_at timestamptz, domain text, model text, duration_ms integer, input_tokens integer,
          output_tokens integer, cost_usd numeric, search_count integer, iterations integer, success boolean)
        ON CONFLICT DO NOTHING
        """), parameters, operation: "enter events into the truth")
  }

  public struct NotWritten: Error { public var what: String }

  private func decode(
    _ json: String, at offset: Int64, nowMicros: Int64, into batch: EventBatch, _ decoder: inout EventDecoder
  ) throws {
    let index = batch.partitionIndex(topic: partition.topic, partition: partition.partition)
    try Array(json.utf8).withUnsafeBytes { payload in
      let source = batch.retain(
        partitionIndex: index, offset: offset, timestampMs: nowMicros / 1_000, key: nil, payload: payload,
        headers: nil)
      let start = batch.rows.count
      let coordinates = RecordCoordinates(
        topic: partition.topic, partition: partition.partition, offset: offset)
      do throws(Rejection) {
        let facts = try decoder.decode(
          payload, at: coordinates, nowMicros: nowMicros, into: &batch.rows, repairs: &batch.repairs)
        _ = batch.add(facts, rowStart: start, source: source)
      } catch {
        throw NotWritten(what: "\(error): \(json)")
      }
    }
  }
}
