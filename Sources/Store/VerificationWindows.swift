/// The statements that compare the trailing windows: minutes with raw rows, hours with their minutes, days with their
/// hours. The parameters are those of `VerificationDays`.
struct VerificationWindows {
  let schema: Schema

  /// From here on windows are whole. Ingest appends what is younger than 8 days by the worker's clock, and the fold
  /// deletes what is older by the server's: an hour less leaves room for both.
  static let floor = "date_trunc('hour', now() - interval '191 hours', 'UTC')"

  private static let measures = [VerificationSQL.Measure("requests"), VerificationSQL.Measure("cost_micros")]
  /// Where the minutes of an hour have them.
  private static let minuteColumns = ["minute_requests", "minute_costs"]
  /// The kind and the name stand in the places of domain and model.
  private static let names = "kind AS domain, name AS model"

  /// The raw rows of the stretch by minute, kind and name.
  var rawMinutes: String {
    """
    SELECT k.kind, k.name, minute, sum(n)::bigint AS requests, (sum(cost) * 1000000)::bigint AS cost_micros
    FROM (
      SELECT date_trunc('minute', created_at, 'UTC') AS minute, domain, model, count(*) AS n,
        coalesce(sum(cost_usd), 0) AS cost
      FROM \(schema.rawTable) WHERE created_at >= greatest($1, \(Self.floor)) AND created_at < $2 GROUP BY 1, 2, 3
    ) AS raw, LATERAL (VALUES ('domain', domain), ('model', CASE WHEN NOT \(VerificationSQL.blankModel) THEN model END))
      AS k (kind, name)
    WHERE k.name IS NOT NULL GROUP BY 1, 2, 3
    """
  }

  /// What is not folded into the windows of the stretch yet.
  var pendingMinutes: String {
    """
    SELECT CASE WHEN domain IS NULL THEN 'model' ELSE 'domain' END AS kind, coalesce(domain, model) AS name,
      hour + make_interval(mins => u.minute) AS minute, u.requests, u.cost AS cost_micros
    FROM \(schema.windowDeltasTable), unnest(minutes, minute_requests, minute_costs) AS u (minute, requests, cost)
    WHERE hour >= greatest($1, \(Self.floor)) AND hour < $2
    """
  }

  /// Minutes, with what is pending, against the raw rows.
  var againstRawRows: String {
    let values = Self.measures.enumerated().map { place, measure in
      "(\(place), '\(Self.minuteColumns[place])', expected_\(measure.column)::text, stored_\(measure.column)::text)"
    }
    let sums = Self.measures.flatMap { measure in
      [("expected", "is_raw"), ("stored", "NOT is_raw")].map { side, condition in
        "coalesce(sum(\(measure.column)) FILTER (WHERE \(condition)), 0) AS \(side)_\(measure.column)"
      }
    }
    return """
      SELECT 'chat_telemetry_window_hours' AS table_name, minute AS bucket_start, \(Self.names),
        v.place, v.measure, v.expected, v.stored
      FROM (
        SELECT kind, name, minute, \(sums.joined(separator: ", ")),
          bool_or(minute IS NULL OR requests IS NULL OR cost_micros IS NULL) AS is_broken
        FROM (
          SELECT true AS is_raw, * FROM (\(rawMinutes)) AS raw
          UNION ALL SELECT false, * FROM (\(pendingMinutes)) AS pending
          UNION ALL
          SELECT false, kind, name, start + make_interval(mins => u.minute), u.requests, u.cost
          FROM \(schema.windowHoursTable),
            unnest(minutes, minute_requests, minute_costs) AS u (minute, requests, cost)
          WHERE start >= greatest($1, \(Self.floor)) AND start < $2
        ) AS part GROUP BY kind, name, minute
      ) AS minutes CROSS JOIN LATERAL (VALUES \(values.joined(separator: ", "))) AS v (place, measure, expected, stored)
      WHERE v.expected <> v.stored OR is_broken
      """
  }

  /// Hours against their minutes and days against their hours: all of them, whatever the stretch.
  var againstParts: String {
    let hours = """
      (SELECT start AS bucket_start, \(Self.names), coalesce(sum(u.requests), 0) AS requests,
        coalesce(sum(u.cost), 0) AS cost_micros
      FROM \(schema.windowHoursTable)
      LEFT JOIN LATERAL unnest(minute_requests, minute_costs) AS u (requests, cost) ON true
      WHERE start >= \(Self.floor) GROUP BY 1, 2, 3)
      """
    let days = """
      (SELECT date_trunc('day', start, 'UTC') AS bucket_start, \(Self.names), sum(requests) AS requests,
        sum(cost_micros) AS cost_micros
      FROM \(schema.windowHoursTable)
      WHERE date_trunc('day', start, 'UTC') >= \(Self.floor) GROUP BY 1, 2, 3)
      """
    let tables = [("chat_telemetry_window_hours", hours), ("chat_telemetry_window_days", days)]
    return tables.map { table, expected in
      let stored = """
        (SELECT start AS bucket_start, \(Self.names), requests, cost_micros
        FROM \(schema.table(table)) WHERE start >= \(Self.floor))
        """
      return VerificationSQL.differences(
        table: table, expected: expected, stored: stored, measures: Self.measures, count: "requests")
    }.joined(separator: "\nUNION ALL\n")
  }
}
