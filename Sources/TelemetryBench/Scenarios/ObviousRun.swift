import Postgres

/// The obvious way: rows into a temporary table, and one statement that stores those which are new and adds them up.
struct ObviousRun {
  let surroundings: Surroundings
  let rows: EncodedRows

  func run() throws -> StoredRun {
    try surroundings.measureStoring(rows, areRolledUp: true, prepare: prepare) { connection, batch in
      try batch.copy(into: connection, "staging")
      try connection.execute(Self.statement, operation: "store the new rows and add them up")
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
    ), hours AS (\(upsert("chat_telemetry_rollups", keys: [:])))
    , domains AS (\(upsert("chat_telemetry_domain_rollups", keys: ["domain": "coalesce(domain, 'unknown')"])))
    \(upsert("chat_telemetry_model_rollups", keys: ["domain": "domain", "model": "model"]))
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
