/// The text of a comparison: two row sets of one shape, joined by key, of which only differing values come back.
struct VerificationSQL {
  enum Merge: String { case sum, max, min }

  enum Form { case number, time }

  /// A column that is compared, how values of it merge and how it is shown.
  struct Measure {
    var column: String
    var merge: Merge
    var form: Form

    init(_ column: String, _ merge: Merge = .sum, _ form: Form = .number) {
      (self.column, self.merge, self.form) = (column, merge, form)
    }
  }

  /// The columns of the tables' keys, which every row set has, null where a table is coarser.
  static let keyColumns = ["bucket_start", "domain", "model"]

  static let measures: [Measure] = [
    Measure("total_requests"), Measure("success_count"), Measure("failure_count"),
    Measure("total_input_tokens"), Measure("total_output_tokens"), Measure("total_cost_usd"),
    Measure("max_cost_usd", .max), Measure("total_duration_ms"), Measure("timed_requests"),
    Measure("max_duration_ms", .max), Measure("total_searches"), Measure("total_iterations"),
    Measure("first_request_at", .min, .time), Measure("last_request_at", .max, .time),
  ]
  /// The sketch's columns of model rollups: null in hour rows.
  static let sketch = [Measure("duration_bins"), Measure("duration_bin_counts")]
  static let bucketEnd = Measure("bucket_end", .max, .time)

  /// The measures' names.
  static var columns: String { measures.map(\.column).joined(separator: ", ") }

  /// The measures merged over a group.
  static var merged: String {
    measures.map { "\($0.merge.rawValue)(\($0.column)) AS \($0.column)" }.joined(separator: ", ")
  }

  /// The measures to be taken off sums: extremes stay as they are, and an event that is pending may set one already.
  static var negated: String {
    measures.map { measure in
      let column = measure.column
      return measure.merge == .sum ? "-\(column) AS \(column)" : "nullif(\(column), \(column)) AS \(column)"
    }.joined(separator: ", ")
  }

  /// The measures of raw rows.
  static let rawColumns = """
    count(*) AS total_requests,
    count(*) FILTER (WHERE success) AS success_count, count(*) FILTER (WHERE NOT success) AS failure_count,
    coalesce(sum(input_tokens), 0) AS total_input_tokens,
    coalesce(sum(output_tokens), 0) AS total_output_tokens, coalesce(sum(cost_usd), 0) AS total_cost_usd,
    max(cost_usd) AS max_cost_usd, coalesce(sum(duration_ms), 0) AS total_duration_ms,
    count(duration_ms) AS timed_requests, max(duration_ms) AS max_duration_ms,
    sum(search_count) AS total_searches, sum(iterations) AS total_iterations,
    min(created_at) AS first_request_at, max(created_at) AS last_request_at
    """

  /// The measures of a delta row, which counts money in micro-dollars.
  static let deltaColumns = """
    total_requests, success_count, total_requests - success_count AS failure_count, total_input_tokens,
    total_output_tokens, total_cost_micros * 0.000001 AS total_cost_usd, max_cost_micros * 0.000001 AS max_cost_usd,
    total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations, first_request_at,
    last_request_at
    """

  /// A model as rollups name it. `$3` holds every scalar of Unicode's White_Space.
  static let model = "CASE WHEN \(blankModel) THEN 'unknown' ELSE model END"
  static let blankModel = "(btrim(model, $3) = '')"
  /// A model as totals name it, where day rollups have `unknown`.
  static let exactModel = "CASE WHEN \(blankModel) THEN '' ELSE model END"
  static let unclearModel = "(model = 'unknown' OR \(blankModel))"

  /// A time as RFC 3339 has it, in UTC.
  static func time(_ value: String) -> String {
    "to_char(\(value) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
  }

  /// One row for each measure in which the row sets differ; a row that only one of them has is one difference.
  ///
  /// - Parameters:
  ///   - expected, stored: Names of row sets with the columns `bucket_start`, `domain`, `model` and the measures.
  ///   - count: The measure that a whole row is shown by.
  static func differences(
    table: String, expected: String, stored: String, measures: [Measure], count: String = "total_requests"
  ) -> String {
    let values = measures.enumerated().map { place, measure in
      let (left, right) = ("e.\(measure.column)", "s.\(measure.column)")
      let show = { (value: String) in measure.form == .time ? time(value) : "\(value)::text" }
      return """
        (\(place + 1), '\(measure.column)', e.present AND s.present AND \(left) IS DISTINCT FROM \(right),
          \(show(left)), \(show(right)))
        """
    }
    let keys = keyColumns.map { "coalesce(e.\($0), s.\($0)) AS \($0)" }.joined(separator: ", ")
    return """
      SELECT '\(table)' AS table_name, \(keys), v.place, v.measure, v.expected, v.stored
      FROM (SELECT true AS present, * FROM \(expected) AS side) AS e
      FULL JOIN (SELECT true AS present, * FROM \(stored) AS side) AS s ON \(joined)
      CROSS JOIN LATERAL (VALUES
        (0, 'row', e.present IS DISTINCT FROM s.present,
          e.\(count)::text || ' requests', s.\(count)::text || ' requests'),
        \(values.joined(separator: ",\n  "))
      ) AS v (place, measure, differs, expected, stored)
      WHERE v.differs
      """
  }

  /// The join by key, which must be able to hash: hence no IS NOT DISTINCT FROM. Null and the blank stay apart.
  private static var joined: String {
    let texts = ["domain", "model"].map {
      "coalesce(e.\($0), '') = coalesce(s.\($0), '') AND (e.\($0) IS NULL) = (s.\($0) IS NULL)"
    }
    return (["coalesce(e.bucket_start, '-infinity') = coalesce(s.bucket_start, '-infinity')"] + texts)
      .joined(separator: " AND ")
  }

  /// The query that the report reads: all are counted, the first `limit` come back.
  static func listed(_ differences: String, limit: Int) -> String {
    """
    SELECT table_name, \(time("bucket_start")), domain, model, measure, expected, stored, count(*) OVER ()
    FROM (\(differences)) AS difference
    ORDER BY table_name, difference.bucket_start, domain, model, place LIMIT \(limit)
    """
  }
}
