/// The statements that make rollups, totals, sketches and windows anew. The parameters are those of `VerificationDays`.
///
/// An hour's or a day's rows are computed in the snapshot of the statement that writes them, which is taken after the
/// lock under which all others write them. For hours that is the lock of the upserts, which a batch holds from before
/// its first upsert to its COMMIT: a batch is in the snapshot with its raw rows and its upserts, or with neither, and
/// then it adds to what was written here. For all else it is the fold's: what is pending counts in the raw rows and is
/// taken off again, for a fold is still to add it.
struct RebuildSQL {
  let schema: Schema

  private var days: VerificationDays { VerificationDays(schema: schema) }
  private var windows: VerificationWindows { VerificationWindows(schema: schema) }
  private static let measures = VerificationSQL.measures.map(\.column)
  private static let stretch = "bucket_start >= $1 AND bucket_start < $2"

  // MARK: Rollups

  /// Hour rollups from the raw rows of the stretch.
  var hours: String {
    let parts = VerificationDays.levels.enumerated().map { place, level in
      let isModel = place == 2
      let sketch = isModel ? ", NULL::smallint[] AS duration_bins, NULL::bigint[] AS duration_bin_counts" : ""
      var replacement = rollups(level, "hour")
      if isModel { replacement.columns += VerificationSQL.sketch.map(\.column) }
      return """
        hour_\(place) AS MATERIALIZED (SELECT *\(sketch) FROM (\(VerificationDays.rows(level, "hour"))) AS x),
        \(replacement.parts("hour_\(place)"))
        """
    }
    return "WITH \(days.rawRows),\n\(parts.joined(separator: ",\n"))\nSELECT"
  }

  /// Day rollups from the raw rows of the day, without what is pending; the sketches are left to `daySketches`.
  var dayRows: String {
    let parts = VerificationDays.levels.enumerated().map { place, level in
      var replacement = rollups(level, "day")
      if place == 2 { replacement.initial = VerificationSQL.sketch.map { ($0.column, "'{}'") } }
      return """
        day_\(place) AS MATERIALIZED (
          \(VerificationDays.rows(level, "day", from: "folded")) HAVING sum(total_requests) > 0
        ),
        \(replacement.parts("day_\(place)"))
        """
    }
    return """
      WITH \(days.rawRows), \(days.pending), folded AS MATERIALIZED (
        SELECT bucket_start, domain, model, \(VerificationSQL.columns) FROM fine
        UNION ALL SELECT bucket_start, domain, model, \(VerificationSQL.negated) FROM pending
      ),
      \(parts.joined(separator: ",\n"))
      SELECT
      """
  }

  private func rollups(_ level: VerificationDays.Level, _ granularity: String) -> RowReplacement {
    let keys = ["domain", "model"].filter { column in
      !(column == "domain" ? level.domain : level.model).hasPrefix("NULL")
    }
    return RowReplacement(
      table: schema.table("\(level.table)_\(granularity)"), shared: [("granularity", "'\(granularity)'")],
      keys: ["bucket_start"] + keys, columns: ["bucket_end"] + Self.measures, scope: Self.stretch)
  }

  /// The sketches of a day's model rollups from the raw rows, without what is pending. What was not settled is in them.
  var daySketches: String {
    let hits = """
      SELECT domain, \(VerificationSQL.model) AS model, width_bucket(duration_ms - 1, $4) AS bin, count(*) AS n
      FROM \(schema.rawTable)
      WHERE created_at >= $1 AND created_at < $2 AND duration_ms IS NOT NULL GROUP BY 1, 2, 3
      UNION ALL
      SELECT domain, \(VerificationSQL.model), u.bin, -u.n
      FROM \(schema.summaryDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
      WHERE day::timestamptz >= $1 AND day::timestamptz < $2
      """
    return """
      WITH hit AS (
        SELECT domain, model, bin::smallint AS bin, sum(n)::bigint AS n FROM (\(hits)) AS h
        GROUP BY 1, 2, 3 HAVING sum(n) > 0
      ), sketch AS (
        SELECT domain, model, array_agg(bin ORDER BY bin) AS bins, array_agg(n ORDER BY bin) AS counts
        FROM hit GROUP BY 1, 2
      ), whole AS MATERIALIZED (
        SELECT r.domain, r.model, coalesce(s.bins, '{}') AS bins, coalesce(s.counts, '{}') AS counts
        FROM \(schema.dayModelRollupsTable) AS r
        LEFT JOIN sketch AS s ON coalesce(s.domain, '') = coalesce(r.domain, '') AND s.model = r.model
        WHERE \(Self.stretch)
      ), settled AS (
        DELETE FROM \(schema.daySketchDeltasTable)
        WHERE day::timestamptz >= $1 AND day::timestamptz < $2 RETURNING 1
      ), state AS (
        UPDATE \(schema.foldStateTable)
        SET day_sketch_deltas = greatest(day_sketch_deltas - (SELECT count(*) FROM settled), 0)
      )
      UPDATE \(schema.dayModelRollupsTable) AS r
      SET duration_bins = w.bins, duration_bin_counts = w.counts
      FROM whole AS w
      WHERE \(Self.stretch) AND coalesce(w.domain, '') = coalesce(r.domain, '') AND w.model = r.model
        AND (r.duration_bins, r.duration_bin_counts) IS DISTINCT FROM (w.bins, w.counts)
      """
  }

  // MARK: Windows

  /// The hours of the stretch, with their minutes, from its raw rows, as far back as windows are whole.
  var windowHours: String {
    let replacement = RowReplacement(
      table: schema.windowHoursTable, keys: Self.windowKeys,
      columns: ["requests", "cost_micros", "minutes", "minute_requests", "minute_costs"],
      scope: "start >= greatest($1, \(VerificationWindows.floor)) AND start < $2", hasUpdateTime: false)
    return """
      WITH counted AS (
        SELECT kind, name, minute, sum(requests)::bigint AS requests, sum(cost_micros)::bigint AS cost_micros
        FROM (
          \(windows.rawMinutes)
          UNION ALL SELECT kind, name, minute, -requests, -cost_micros FROM (\(windows.pendingMinutes)) AS pending
        ) AS part GROUP BY 1, 2, 3 HAVING sum(requests) > 0
      ), hours AS MATERIALIZED (
        SELECT kind, date_trunc('hour', minute, 'UTC') AS start, name,
          sum(requests)::bigint AS requests, sum(cost_micros)::bigint AS cost_micros,
          array_agg(extract(minute FROM minute)::smallint ORDER BY minute) AS minutes,
          array_agg(requests ORDER BY minute) AS minute_requests,
          array_agg(cost_micros ORDER BY minute) AS minute_costs
        FROM counted GROUP BY 1, 2, 3
      ), \(replacement.parts("hours"))
      SELECT
      """
  }

  /// The sums of the windows' hours from their minutes, and the days from those, all of them.
  var windowSums: String {
    let floor = VerificationWindows.floor
    let sums = ["requests", "cost_micros"]
    let hours = RowReplacement(
      table: schema.windowHoursTable, keys: Self.windowKeys, columns: sums,
      initial: ["minutes", "minute_requests", "minute_costs"].map { ($0, "'{}'") },
      scope: "start >= \(floor)", hasUpdateTime: false)
    let days = RowReplacement(
      table: schema.windowDaysTable, keys: Self.windowKeys, columns: sums, scope: "start >= \(floor)",
      hasUpdateTime: false)
    return """
      WITH hours AS MATERIALIZED (
        SELECT kind, start, name, sum(u.requests) AS requests, sum(u.cost) AS cost_micros
        FROM \(schema.windowHoursTable), unnest(minute_requests, minute_costs) AS u (requests, cost)
        WHERE start >= \(floor) GROUP BY 1, 2, 3
      ), days AS MATERIALIZED (
        SELECT kind, date_trunc('day', start, 'UTC') AS start, name, sum(requests) AS requests,
          sum(cost_micros) AS cost_micros
        FROM hours WHERE date_trunc('day', start, 'UTC') >= \(floor) GROUP BY 1, 2, 3
      ), \(hours.parts("hours")), \(days.parts("days"))
      SELECT
      """
  }

  private static let windowKeys = ["kind", "start", "name"]
}
