import Postgres
import Store

/// What a demo shows at its end, read from the tables that dashboards read.
struct DemoReport: Encodable {
  struct Throughput: Encodable {
    var records: Int
    var stored: Int
    var duplicates: Int
    var deadLetters: Int
    var seconds: Double
    var recordsPerSecond: Int
  }

  struct Table: Encodable {
    var title: String
    var columns: [String]
    var rows: [[String]]
  }

  struct Refresh: Encodable {
    var view: String
    var milliseconds: Double
    var status: String
  }

  var throughput: Throughput
  /// The last refresh of each view, when all events were stored.
  var refreshes: [Refresh]
  var tables: [Table]

  init(
    outcome: DemoOutcome, refreshes: [RefreshOutcome], connection: Connection
  ) throws(PostgresError) {
    self.refreshes = refreshes.map {
      Refresh(view: $0.view.rawValue, milliseconds: $0.milliseconds, status: $0.status)
    }
    let counts = try connection.query(
      """
      SELECT (SELECT count(*) FROM chat_telemetry), (SELECT count(*) FROM chat_telemetry_dead_letters)
      """, operation: "count the rows"
    ).rows[0]
    let (stored, dead) = (Int(counts.int(0)), Int(counts.int(1)))
    throughput = Throughput(
      records: outcome.production.records, stored: stored,
      duplicates: outcome.production.records - stored - dead, deadLetters: dead, seconds: outcome.seconds,
      recordsPerSecond: Int(Double(outcome.production.records) / max(outcome.seconds, 0.001)))
    tables = []
    for query in Self.queries { tables.append(try Self.table(query.title, query.sql, connection)) }
  }

  private static let measures = """
    sum(total_requests) AS requests, round(100 * sum(success_count) / sum(total_requests), 2) AS success_pct,
    sum(total_cost_usd) AS cost_usd, sum(total_input_tokens + total_output_tokens) AS tokens,
    round(sum(total_duration_ms) / nullif(sum(timed_requests), 0)) AS avg_ms
    """

  private static let queries: [(title: String, sql: String)] = [
    (
      "Busiest domains (chat_telemetry_domain_summary)",
      """
      SELECT domain, total_requests_all_time AS requests, success_rate_pct AS success_pct,
        total_cost_usd_all_time AS cost_usd, total_tokens AS tokens, round(median_duration_ms) AS median_ms,
        round(p95_duration_ms) AS p95_ms, most_used_model AS model, requests_last_24h AS last_24h
      FROM chat_telemetry_domain_summary ORDER BY requests DESC, domain LIMIT 8
      """
    ),
    (
      "Models (chat_telemetry_model_summary)",
      """
      SELECT model, total_uses AS uses, unique_domains AS domains, success_rate_pct AS success_pct,
        total_cost AS cost_usd, round(cost_per_1k_tokens, 6) AS usd_per_1k, round(avg_duration_ms) AS avg_ms,
        round(p95_duration_ms) AS p95_ms, uses_last_24h AS last_24h
      FROM chat_telemetry_model_summary ORDER BY uses DESC, model
      """
    ),
    (
      "Last hours",
      """
      SELECT to_char(bucket_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS hour_utc, \(measures)
      FROM chat_telemetry_rollups WHERE granularity = 'hour'
      GROUP BY bucket_start ORDER BY bucket_start DESC LIMIT 6
      """
    ),
    (
      "Dead letters by reason",
      """
      SELECT reason, count(*) AS records, min(detail) AS example FROM chat_telemetry_dead_letters
      GROUP BY reason ORDER BY records DESC, reason
      """
    ),
  ]

  private static func table(
    _ title: String, _ sql: String, _ connection: Connection
  ) throws(PostgresError) -> Table {
    let result = try connection.query(sql, operation: "read \(title.lowercased())")
    return Table(
      title: title, columns: result.columns, rows: result.rows.map { $0.values.map { $0 ?? "" } })
  }

  /// For people.
  var text: String {
    let seconds = (throughput.seconds * 10).rounded() / 10
    var text = """

      \(NumberText.grouped(throughput.records)) records in \(seconds) s (generated, ingested and committed): \
      \(NumberText.grouped(throughput.recordsPerSecond)) a second
      stored \(NumberText.grouped(throughput.stored)), dropped as repeats \
      \(NumberText.grouped(throughput.duplicates)), dead letters \(NumberText.grouped(throughput.deadLetters))

      """
    for each in refreshes {
      text += "\(each.view): folded and refreshed, \(each.milliseconds) ms, \(each.status)\n"
    }
    for table in tables { text += "\n\(table.title)\n\(table.rendered)" }
    return text
  }
}

extension DemoReport.Table {
  private static let textColumns: Set<String> = ["domain", "model", "hour_utc", "reason", "example"]

  var rendered: String {
    var table = TextTable(columns.map { Self.textColumns.contains($0) ? .text($0) : .number($0) })
    for row in rows {
      table.add(zip(columns, row).map { Self.textColumns.contains($0) ? $1 : NumberText.grouped($1) })
    }
    return table.rendered(width: Console.width)
  }
}
