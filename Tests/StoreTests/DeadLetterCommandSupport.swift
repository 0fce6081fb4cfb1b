import Logging
import Postgres
import Store
import Telemetry
import TestSupport

/// A migrated schema with dead letters that a test writes by SQL, and a clock that stands still.
struct LetterStage: Sendable {
  let database: TestDatabase
  /// 2026-03-15T12:34:56Z.
  static let nowMs: Int64 = 1_773_578_096_000

  init() throws { database = try TestDatabase() }

  var queries: DeadLetterQueries {
    get throws { DeadLetterQueries(connection: try database.connect(), schema: database.schema) }
  }

  func events(_ count: Int, seed: UInt64) -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in TestEvent.random(&random, nowMs: Self.nowMs) }
  }

  func truth(_ events: [TestEvent]) -> Truth { events.reduce(into: Truth()) { $0.add($1) } }

  /// A dead letter for each payload, at the offsets from `offset` on.
  func insert(
    _ payloads: [String], offset: Int = 0, partition: Int = 3, topic: String = "chat-telemetry",
    reason: RejectionReason = .wrongType, receivedAt: String = "now()",
    recordTimestamp: String = "2026-03-15T12:00:00Z"
  ) throws {
    let connection = try database.connect()
    var parameters = Parameters()
    parameters.array(of: .bytea, count: payloads.count)
    for payload in payloads { parameters.element(bytes: payload.utf8) }
    try connection.query(
      database.sql(
        """
        INSERT INTO @.chat_telemetry_dead_letters (topic, partition, record_offset, record_timestamp, key, payload,
          payload_bytes, headers, reason, detail, received_at)
        SELECT '\(topic)', \(partition), \(offset) - 1 + place, timestamptz '\(recordTimestamp)', 'k', payload,
          length(payload), '[{"key":"trace","value":"t-1"}]', '\(reason.rawValue)', 'before', \(receivedAt)
        FROM unnest($1) WITH ORDINALITY AS u (payload, place) ORDER BY place
        """), parameters, operation: "insert dead letters for a test")
  }

  func retry(
    _ filter: DeadLetterFilter = DeadLetterFilter(), defaults: FieldDefaults = FieldDefaults(),
    dryRun: Bool = false,
    on connection: Connection? = nil
  ) throws -> RetryReport {
    let store = BatchStore(
      connection: try connection ?? database.connect(), options: database.options, schema: database.schema,
      group: "test", recentKeys: 2, onHolderEnded: { _, _ in })
    return try DeadLetterRetry(
      store: store, rules: DecodingRules(), defaults: defaults, nowMicros: Self.nowMs * 1_000
    ).run(filter, dryRun: dryRun)
  }

  /// The letters as `offset reason detail resolution`.
  func letters() throws -> [String] {
    try database.rows(
      """
      SELECT concat_ws(' ', record_offset, reason, detail, coalesce(resolution, '-'))
      FROM @.chat_telemetry_dead_letters ORDER BY topic, partition, record_offset
      """
    ).map { $0[0] ?? "" }
  }

  func count(_ condition: String) throws -> Int64 {
    try database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters WHERE \(condition)")
  }

  /// Everything that a retry may change, as one text.
  func everything() throws -> [[String?]] {
    try [
      "chat_telemetry", "chat_telemetry_rollups", "chat_telemetry_domain_rollups",
      "chat_telemetry_model_rollups", "chat_telemetry_summary_deltas", "chat_telemetry_sketch_deltas",
      "chat_telemetry_window_deltas",
      "chat_telemetry_pending_batches", "chat_telemetry_dead_letters", "chat_telemetry_days",
    ].flatMap {
      try database.rows("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM @.\($0) AS t")
    }
  }

  /// What the windows and the pending batches hold, beside what the raw rows say that they must.
  func windowDifferences() throws -> [[String?]] {
    try database.rows(
      """
      SELECT * FROM (
        SELECT (SELECT coalesce(sum(events), 0) FROM @.chat_telemetry_pending_batches),
          (SELECT count(*) FROM @.chat_telemetry),
          (SELECT coalesce(sum(requests), 0) FROM @.chat_telemetry_window_deltas WHERE domain IS NOT NULL),
          (SELECT count(*) FROM @.chat_telemetry WHERE domain IS NOT NULL),
          (SELECT coalesce(sum(cost_micros), 0) FROM @.chat_telemetry_window_deltas WHERE domain IS NOT NULL),
          (SELECT (coalesce(sum(cost_usd), 0) * 1000000)::bigint FROM @.chat_telemetry WHERE domain IS NOT NULL)
      ) AS t (pending, raw, window_requests, requests, window_cost, cost)
      WHERE pending <> raw OR window_requests <> requests OR window_cost <> cost
      """)
  }
}
