import Postgres
import Telemetry

/// The floor: nothing but the encoded rows, copied into the same table with the same key and partitions.
struct FloorRun {
  let surroundings: Surroundings
  let rows: EncodedRows

  func run() throws -> StoredRun {
    try surroundings.measureStoring(rows, areRolledUp: false) { connection, batch in
      try batch.copy(into: connection, "chat_telemetry")
    }
  }
}

/// The obvious way: rows into a temporary table, and one statement that stores those which are new and adds them up.
struct ObviousRun {
  let surroundings: Surroundings
  let rows: EncodedRows

  func run() throws -> StoredRun {
    try surroundings.measureStoring(rows, areRolledUp: true, prepare: prepare) { connection, batch in
      try connection.execute("BEGIN", operation: "begin a transaction")
      try batch.copy(into: connection, "staging")
      try connection.execute(Self.statement, operation: "store the new rows and add them up")
      try connection.execute("COMMIT", operation: "commit")
    }
  }

  /// With memory enough that neither the table nor the sums go to disk.
  private func prepare(_ connection: Connection) throws {
    try connection.execute(
      """
      SET temp_buffers = '64MB'; SET work_mem = '64MB';
      CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS
      SELECT \(EncodedRows.columns) FROM chat_telemetry WITH NO DATA
      """, operation: "make a table for staging")
  }

  private static let sums = [
    "total_requests", "success_count", "failure_count", "total_input_tokens", "total_output_tokens",
    "total_cost_usd", "total_duration_ms", "timed_requests", "total_searches", "total_iterations",
  ]
  private static let extremes = [
    ("max_cost_usd", "greatest"), ("max_duration_ms", "greatest"), ("first_request_at", "least"),
    ("last_request_at", "greatest"),
  ]

  private static let statement = """
    WITH new AS (
      INSERT INTO chat_telemetry (\(EncodedRows.columns))
      SELECT \(EncodedRows.columns) FROM staging ORDER BY created_at, id
      ON CONFLICT DO NOTHING
      RETURNING created_at, domain, model, success, input_tokens, output_tokens, cost_usd, duration_ms, search_count,
        iterations
    ), fine AS MATERIALIZED (
      SELECT date_trunc('hour', created_at, 'UTC') AS bucket, domain,
        coalesce(nullif(btrim(model), ''), 'unknown') AS model, count(*) AS total_requests,
        count(*) FILTER (WHERE success) AS success_count, count(*) FILTER (WHERE NOT success) AS failure_count,
        coalesce(sum(input_tokens), 0) AS total_input_tokens, coalesce(sum(output_tokens), 0) AS total_output_tokens,
        coalesce(sum(cost_usd), 0) AS total_cost_usd, max(cost_usd) AS max_cost_usd,
        coalesce(sum(duration_ms), 0) AS total_duration_ms, count(duration_ms) AS timed_requests,
        max(duration_ms) AS max_duration_ms, sum(search_count) AS total_searches, sum(iterations) AS total_iterations,
        min(created_at) AS first_request_at, max(created_at) AS last_request_at
      FROM new GROUP BY 1, 2, 3
    ), hours AS (\(upsert("chat_telemetry_rollups_hour", keys: [:])))
    , domains AS (\(upsert("chat_telemetry_domain_rollups_hour", keys: ["domain": "coalesce(domain, 'unknown')"])))
    \(upsert("chat_telemetry_model_rollups_hour", keys: ["domain": "domain", "model": "model"]))
    """

  /// - Parameter keys: The key's columns beyond the hour, and what stands in them.
  private static func upsert(_ table: String, keys: [String: String]) -> String {
    let names = keys.keys.sorted()
    let columns = names.map { ", \($0)" }.joined()
    let values = names.map { ", \(keys[$0] ?? "") AS \($0)" }.joined()
    let grouped = (1...names.count + 1).map(String.init).joined(separator: ", ")
    let measures = sums + extremes.map(\.0)
    let aggregates =
      sums.map { "sum(\($0)) AS \($0)" }
      + extremes.map { "\($0.1 == "least" ? "min" : "max")(\($0.0)) AS \($0.0)" }
    let additions =
      sums.map { "\($0) = r.\($0) + excluded.\($0)" }
      + extremes.map { "\($0.0) = \($0.1)(r.\($0.0), excluded.\($0.0))" }
    return """
      INSERT INTO \(table) AS r (granularity, bucket_start, bucket_end\(columns), \(measures.joined(separator: ", ")))
      SELECT 'hour', bucket, bucket + interval '1 hour'\(columns), \(measures.joined(separator: ", "))
      FROM (
        SELECT bucket\(values), \(aggregates.joined(separator: ", ")) FROM fine GROUP BY \(grouped) ORDER BY \(grouped)
      ) AS g
      ON CONFLICT (granularity, bucket_start\(columns)) DO UPDATE SET
        \(additions.joined(separator: ", ")), updated_at = now()
      """
  }
}

/// What storing some events came to.
struct StoredRun {
  var events: Int
  /// From the first row to the last COMMIT.
  var seconds: Double
  var usage: ServerUsage
  /// CPU seconds of the server for a VACUUM ANALYZE afterwards, which autovacuum would do sooner or later.
  var vacuumCPUSeconds: Double
  var batches: Int

  /// Notes it all for each event.
  func record(in findings: inout Findings, as subject: Subject) {
    let count = Double(events)
    findings.add(count / seconds, .rate, of: subject)
    findings.add(usage.cpuSeconds / count * 1e6, .postgresCPU, of: subject)
    findings.add(usage.walBytes / count, .wal, of: subject)
    findings.add(count / Double(batches), .batch, of: subject)
    findings.add(vacuumCPUSeconds / count * 1e6, .vacuumCPU, of: subject)
  }
}

extension EncodedRows {
  static let columns = RawColumn.allCases.map(\.name).joined(separator: ", ")
}

extension EncodedRows.Batch {
  func copy(into connection: Connection, _ table: String) throws {
    try bytes.withUnsafeBytes { bytes in
      _ = try connection.copyIn(
        "COPY \(table) (\(EncodedRows.columns)) FROM STDIN (FORMAT binary)",
        operation: "copy rows into \(table)"
      ) { $0.send(bytes) }
    }
  }
}

extension Surroundings {
  /// Stores rows over one connection to a new database, and measures it.
  func measureStoring(
    _ rows: EncodedRows, areRolledUp: Bool, prepare: (Connection) throws -> Void = { _ in },
    store: (Connection, EncodedRows.Batch) throws -> Void
  ) throws -> StoredRun {
    let database = try makeDatabase()
    let connection = try database.connect()
    var parameters = Parameters()
    parameters.array(of: .date, count: rows.days.count)
    for day in rows.days { parameters.element(day - postgresEpochDays) }
    try connection.query("SELECT chat_telemetry_ensure_days($1)", parameters, operation: "make the days")
    try prepare(connection)
    let before = try usage(connection)
    let clock = ContinuousClock()
    let began = clock.now
    for batch in rows.batches { try store(connection, batch) }
    let seconds = (clock.now - began).seconds
    let usage = try self.usage(connection) - before
    try database.check(connection, events: rows.count, areRolledUp: areRolledUp)
    let vacuum = try vacuumCPUSeconds(connection)
    try drop(database)
    return StoredRun(
      events: rows.count, seconds: seconds, usage: usage, vacuumCPUSeconds: vacuum,
      batches: rows.batches.count)
  }

  func vacuumCPUSeconds(_ connection: Connection) throws -> Double {
    let before = try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID)
    try connection.execute("VACUUM ANALYZE", operation: "vacuum")
    return try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID) - before
  }
}

extension Database {
  /// A measurement of wrong results is worth nothing.
  func check(_ connection: Connection, events: Int, areRolledUp: Bool) throws {
    let row = try connection.query(
      """
      SELECT (SELECT count(*) FROM chat_telemetry), coalesce(sum(total_requests), 0)::bigint
      FROM chat_telemetry_model_rollups WHERE granularity = 'hour'
      """, operation: "count the events"
    ).rows[0]
    let (stored, summed) = (Int(row.int(0)), Int(row.int(1)))
    guard stored == events && (summed == events || !areRolledUp) else {
      throw BenchFailure("\(stored) rows were stored and \(summed) rolled up instead of \(events)")
    }
  }
}

extension ServerUsage {
  static func - (after: ServerUsage, before: ServerUsage) -> ServerUsage {
    ServerUsage(cpuSeconds: after.cpuSeconds - before.cpuSeconds, walBytes: after.walBytes - before.walBytes)
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
