import Postgres

/// The statements that compare the rollups of a stretch of time. `$1` and `$2` bound it, `$3` is White_Space and `$4`
/// the largest duration of each bin of the sketch.
struct VerificationDays {
  let schema: Schema

  /// A rollup table and what of a row's domain and model it keeps.
  struct Level {
    var table: String
    var domain: String
    var model: String
  }

  static let levels = [
    Level(table: "chat_telemetry_rollups", domain: "NULL::text", model: "NULL::text"),
    Level(table: "chat_telemetry_domain_rollups", domain: "coalesce(domain, 'unknown')", model: "NULL::text"),
    Level(table: "chat_telemetry_model_rollups", domain: "domain", model: "model"),
  ]

  /// Hour rollups, and day rollups where the stretch is a whole day, against the raw rows, which are read once.
  func againstRawRows(wholeDay: Bool) -> String {
    let parts = (wholeDay ? ["hour", "day"] : ["hour"]).flatMap { granularity in
      Self.levels.map { compare($0, granularity) }
    }
    return "WITH \(rawRows), \(pending)\n\(parts.joined(separator: "\nUNION ALL\n"))"
  }

  /// Day rollups against the raw rows of the day.
  var daysAgainstRawRows: String {
    let parts = Self.levels.map { compare($0, "day") }
    return "WITH \(rawRows), \(pending)\n\(parts.joined(separator: "\nUNION ALL\n"))"
  }

  /// Day rollups against hour rollups, for a day too large for one snapshot of its raw rows, or without any.
  var daysAgainstHours: String {
    let parts = Self.levels.map { compare($0, "day") }
    return "WITH \(modelRows("hour")), \(pending)\n\(parts.joined(separator: "\nUNION ALL\n"))"
  }

  /// Hour or day rollups of everything and of domains against those of models, where there are no raw rows.
  func againstModelRows(_ granularity: String) -> String {
    let parts = Self.levels.dropLast().map { compare($0, granularity, withPending: false) }
    return "WITH \(modelRows(granularity))\n\(parts.joined(separator: "\nUNION ALL\n"))"
  }

  /// What the rollups of a day can be compared with when there are no raw rows: each other. Where retention is in the
  /// middle of a day's rows, those are left out.
  func withoutRawRows(_ marks: RollupInspection.Marks?, wholeDay: Bool) -> [String] {
    let hours = marks?.hours == .partly ? [] : [againstModelRows("hour")]
    guard wholeDay else { return hours }
    switch (marks?.hours ?? .whole, marks?.days ?? .whole) {
    case (.whole, _): return hours + [daysAgainstHours, sketchesAgainstCounts]
    case (_, .whole): return hours + [againstModelRows("day"), sketchesAgainstCounts]
    case (_, .partly): return hours
    case (_, .gone): return hours + [againstModelRows("day")]
    }
  }

  private func modelRows(_ granularity: String) -> String {
    """
    fine AS MATERIALIZED (
      SELECT bucket_start, domain, model, \(VerificationSQL.columns)
      FROM \(schema.table("chat_telemetry_model_rollups_\(granularity)"))
      WHERE bucket_start >= $1 AND bucket_start < $2
    )
    """
  }

  /// The raw rows by hour, domain and model: as they are first, for few models need to be looked at for blanks then.
  var rawRows: String {
    """
    raw AS MATERIALIZED (
      SELECT date_trunc('hour', created_at, 'UTC') AS bucket_start, domain, model, \(VerificationSQL.rawColumns)
      FROM \(schema.rawTable) WHERE created_at >= $1 AND created_at < $2 GROUP BY 1, 2, 3
    ), fine AS MATERIALIZED (
      SELECT bucket_start, domain, \(VerificationSQL.model) AS model, \(VerificationSQL.merged)
      FROM raw GROUP BY 1, 2, 3
    )
    """
  }

  /// What the coordinator has not folded into the day rollups yet.
  var pending: String {
    """
    pending AS MATERIALIZED (
      SELECT day::timestamptz AS bucket_start, domain, \(VerificationSQL.model) AS model,
        (day + 1)::timestamptz AS bucket_end, \(VerificationSQL.deltaColumns)
      FROM \(schema.summaryDeltasTable) WHERE day::timestamptz >= $1 AND day::timestamptz < $2
    )
    """
  }

  private func compare(_ level: Level, _ granularity: String, withPending: Bool = true) -> String {
    let isHour = granularity == "hour"
    let sketch = isHour && level.table == "chat_telemetry_model_rollups" ? VerificationSQL.sketch : []
    return VerificationSQL.differences(
      table: "\(level.table)_\(granularity)",
      expected: """
        (SELECT *\(sketch.map { ", NULL AS \($0.column)" }.joined())
        FROM (\(Self.rows(level, granularity))) AS x)
        """,
      stored: isHour || !withPending
        ? stored(level, granularity, sketch.map(\.column)) : storedWithPending(level),
      measures: [VerificationSQL.bucketEnd] + VerificationSQL.measures + sketch)
  }

  /// A level's rows, made from rows by hour or day, domain and model.
  static func rows(_ level: Level, _ granularity: String, from source: String = "fine") -> String {
    """
    SELECT date_trunc('\(granularity)', bucket_start, 'UTC') AS bucket_start, \(level.domain) AS domain,
      \(level.model) AS model, date_trunc('\(granularity)', bucket_start, 'UTC')
        + interval '1 \(granularity)' AS bucket_end, \(VerificationSQL.merged)
    FROM \(source) GROUP BY 1, 2, 3, 4
    """
  }

  private func stored(_ level: Level, _ granularity: String, _ more: [String]) -> String {
    """
    (SELECT bucket_start, \(keys(level)), bucket_end,
      \(VerificationSQL.columns)\(more.map { ", \($0)::text" }.joined())
    FROM \(schema.table("\(level.table)_\(granularity)")) WHERE bucket_start >= $1 AND bucket_start < $2)
    """
  }

  private func storedWithPending(_ level: Level) -> String {
    """
    (SELECT bucket_start, domain, model, max(bucket_end) AS bucket_end, \(VerificationSQL.merged)
    FROM (
      SELECT bucket_start, \(keys(level)), bucket_end, \(VerificationSQL.columns)
      FROM \(schema.table("\(level.table)_day")) WHERE bucket_start >= $1 AND bucket_start < $2
      UNION ALL
      SELECT bucket_start, \(level.domain), \(level.model), bucket_end, \(VerificationSQL.columns) FROM pending
    ) AS part GROUP BY 1, 2, 3)
    """
  }

  /// The key columns that a level's table has, null for the others.
  private func keys(_ level: Level) -> String {
    ["domain", "model"].map { column in
      (column == "domain" ? level.domain : level.model).hasPrefix("NULL") ? "NULL::text AS \(column)" : column
    }.joined(separator: ", ")
  }

  /// The sketches of the model rollups' day rows, with what is pending and what is not settled yet, against the
  /// durations of the raw rows.
  var sketchesAgainstRawRows: String {
    VerificationSQL.binDifferences(
      table: "chat_telemetry_model_rollups_day", measure: "duration_bins",
      expected: """
        SELECT $1 AS bucket_start, domain, \(VerificationSQL.model) AS model,
          width_bucket(duration_ms - 1, $4) AS bin, n
        FROM (
          SELECT domain, model, duration_ms, count(*) AS n FROM \(schema.rawTable)
          WHERE created_at >= $1 AND created_at < $2 AND duration_ms IS NOT NULL GROUP BY 1, 2, 3) AS raw
        """,
      stored: """
        SELECT r.bucket_start, r.domain, r.model, u.bin, u.n
        FROM \(schema.dayModelRollupsTable) AS r,
          unnest(r.duration_bins, r.duration_bin_counts) AS u (bin, n)
        WHERE r.bucket_start >= $1 AND r.bucket_start < $2
        UNION ALL
        SELECT bucket_start, domain, model, NULL, NULL
        FROM \(schema.dayModelRollupsTable) WHERE bucket_start >= $1 AND bucket_start < $2
          AND (duration_bins IS NULL OR duration_bin_counts IS NULL)
        UNION ALL
        SELECT day::timestamptz, domain, \(VerificationSQL.model), u.bin, u.n
        FROM \(schema.summaryDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
        WHERE day::timestamptz >= $1 AND day::timestamptz < $2
        UNION ALL
        SELECT day::timestamptz, domain, model, u.bin, u.n
        FROM \(schema.daySketchDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
        WHERE day::timestamptz >= $1 AND day::timestamptz < $2
        """)
  }

  /// The same, against the number of timed requests, where the raw rows are too many for one snapshot.
  var sketchesAgainstCounts: String {
    """
    SELECT 'chat_telemetry_model_rollups_day' AS table_name, bucket_start, domain, model, 0 AS place,
      'duration_bin_counts' AS measure, timed_requests::text AS expected, counted::text AS stored
    FROM (
      SELECT bucket_start, m.domain, m.model, timed_requests, coalesce(d.n, 0)
        + (SELECT coalesce(sum(n), 0) FROM unnest(duration_bin_counts) AS u (n)) AS counted
      FROM \(schema.dayModelRollupsTable) AS m
      LEFT JOIN (
        SELECT day, domain, model, sum(u.n) AS n
        FROM \(schema.daySketchDeltasTable), unnest(bin_counts) AS u (n) GROUP BY 1, 2, 3
      ) AS d ON d.day::timestamptz = bucket_start AND coalesce(d.domain, '') = coalesce(m.domain, '')
        AND d.model = m.model
      WHERE bucket_start >= $1 AND bucket_start < $2) AS r
    WHERE timed_requests <> counted
    """
  }
}

extension VerificationSQL {
  /// One row for each key whose sketches differ, which shows the first bin that does.
  ///
  /// - Parameters:
  ///   - expected, stored: Queries with the columns `bucket_start`, `domain`, `model`, `bin` and `n`.
  static func binDifferences(table: String, measure: String, expected: String, stored: String) -> String {
    let keys = "bucket_start, domain, model"
    let show = { (count: String) in
      "(array_agg('bin ' || coalesce(bin::text, 'null') || ': ' || coalesce(\(count)::text, 'null') ORDER BY bin))[1]"
    }
    return """
      SELECT '\(table)' AS table_name, \(keys), 100 AS place, '\(measure)' AS measure,
        \(show("expected")) AS expected, \(show("stored")) AS stored
      FROM (
        SELECT \(keys), bin, bool_or(n IS NULL) AS is_broken, coalesce(sum(n) FILTER (WHERE side = 'e'), 0) AS expected,
          coalesce(sum(n) FILTER (WHERE side = 's'), 0) AS stored
        FROM (SELECT 'e' AS side, x.* FROM (\(expected)) AS x
          UNION ALL SELECT 's', y.* FROM (\(stored)) AS y) AS both_sides
        GROUP BY \(keys), bin
      ) AS counted
      WHERE expected <> stored OR bin IS NULL OR is_broken GROUP BY \(keys)
      """
  }
}
