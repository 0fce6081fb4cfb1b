/// The statements that compare what has no place in time: totals, sketches, what is pending, positions. Fold moves a
/// batch into day rollups, totals and sketches at once, so each follows from another without what is pending.
struct VerificationTotals {
  let schema: Schema

  private var dayRows: String { schema.table("chat_telemetry_model_rollups_day") }
  private var totals: String { schema.table("chat_telemetry_totals") }

  /// Totals have no column of failures: they follow from the successes.
  private static let measures = VerificationSQL.measures.filter { $0.column != "failure_count" }

  private static var merged: String {
    measures.map { "\($0.merge.rawValue)(\($0.column)) AS \($0.column)" }.joined(separator: ", ")
  }

  /// Days with raw rows that were dropped, and whose day rollups are gone too: then totals know more than days do.
  var forgottenDays: String {
    """
    SELECT count(*) FROM \(schema.daysTable) AS d
    WHERE dropped_at IS NOT NULL AND coalesce(dropped_rows, 1) > 0 AND NOT EXISTS (
      SELECT FROM \(schema.table("chat_telemetry_rollups_day")) WHERE bucket_start = d.day::timestamptz)
    """
  }

  /// Totals against day rollups, by domain and model as day rollups name them, and sketches likewise.
  var againstDayRows: String {
    [totalsAgainstDayRows, sketches("domain"), sketches("model")].map { "SELECT * FROM (\($0)) AS part" }
      .joined(separator: "\nUNION ALL\n")
  }

  private var totalsAgainstDayRows: String {
    let keys = "NULL::timestamptz AS bucket_start, domain"
    return VerificationSQL.differences(
      table: "chat_telemetry_totals",
      expected: "(SELECT \(keys), model, \(Self.merged) FROM \(dayRows) GROUP BY domain, model)",
      stored:
        "(SELECT \(keys), \(VerificationSQL.model) AS model, \(Self.merged) FROM \(totals) GROUP BY 1, 2, 3)",
      measures: Self.measures)
  }

  /// Day rollups have the blank model among `unknown`, sketches do not: where a model is blank, `unknown` is left to
  /// the comparison with the totals.
  private func sketches(_ name: String) -> String {
    let known =
      name == "domain"
      ? "domain IS NOT NULL"
      : "(model <> 'unknown' OR NOT EXISTS (SELECT FROM \(totals) WHERE \(VerificationSQL.blankModel)))"
    return VerificationSQL.binDifferences(
      table: "chat_telemetry_sketches", measure: "bins",
      expected: """
        SELECT \(keys(name)), u.bin, u.n
        FROM \(dayRows) AS r, unnest(r.duration_bins, r.duration_bin_counts) AS u (bin, n) WHERE \(known)
        UNION ALL
        SELECT \(keys(name)), u.bin, u.n
        FROM \(schema.table("chat_telemetry_day_sketch_deltas")) AS d, unnest(d.bins, d.bin_counts) AS u (bin, n)
        WHERE \(known)
        """,
      stored: "SELECT \(keys(name)), bin, n FROM (\(allBins(name))) AS s WHERE \(known)")
  }

  /// The bins of every all-time sketch of domains or models: those summed up and the recent ones.
  private func allBins(_ name: String) -> String {
    """
    SELECT s.name AS \(name), u.bin, u.n FROM \(schema.table("chat_telemetry_sketches")) AS s, LATERAL (
      SELECT bin, n FROM unnest(s.bins, s.bin_counts) AS a (bin, n)
      UNION ALL SELECT bin, n FROM unnest(s.recent_bins, s.recent_counts) AS b (bin, n)) AS u
    WHERE s.kind = '\(name)'
    """
  }

  /// The key columns with a sketch's name in its place.
  private func keys(_ name: String, value: String? = nil) -> String {
    let value = value ?? name
    return """
      NULL::timestamptz AS bucket_start, \(name == "domain" ? value : "NULL::text") AS domain, \
      \(name == "model" ? value : "NULL::text") AS model
      """
  }

  /// What must agree whatever was dropped: sketches with totals, percentiles with their sketch, counts of events.
  var withinTotals: String {
    ([counts("domain"), counts("model")] + percentiles("domain") + percentiles("model") + eventCounts)
      .map { "SELECT * FROM (\($0)) AS part" }.joined(separator: "\nUNION ALL\n")
  }

  private func counts(_ name: String) -> String {
    let known = name == "domain" ? "domain IS NOT NULL" : "NOT \(VerificationSQL.blankModel)"
    return """
      SELECT 'chat_telemetry_sketches' AS table_name, \(keys(name, value: "coalesce(e.name, s.name)")), 0 AS place,
        'bin_counts' AS measure, e.n::text AS expected, s.n::text AS stored
      FROM (SELECT \(name) AS name, sum(timed_requests) AS n FROM \(totals) WHERE \(known) GROUP BY 1) AS e
      FULL JOIN (SELECT \(name) AS name, sum(n) AS n FROM (\(allBins(name))) AS b GROUP BY 1) AS s ON e.name = s.name
      WHERE coalesce(e.n, 0) <> coalesce(s.n, 0)
      """
  }

  /// A sketch remembers in which bin a percentile lies, with the hits before it and in it: both are counted again, and
  /// the rank p * (total - 1), counted from 0, must lie among them.
  private func percentiles(_ name: String) -> [String] {
    [("median", 50), ("p95", 95)].enumerated().map { place, each in
      let (percentile, percent) = each
      let rank = "\(percent) * (s.timed_requests - 1) / 100"
      return """
        SELECT 'chat_telemetry_sketches' AS table_name, \(keys(name, value: "s.name")), \(place + 1) AS place,
          '\(percentile)' AS measure,
          concat_ws(' ', 'bin', s.\(percentile)_bin, 'has', c.hits, 'behind', c.before) AS expected,
          concat_ws(' ', 'rank', \(rank), 'in', s.\(percentile)_hits, 'behind', s.\(percentile)_before) AS stored
        FROM \(schema.table("chat_telemetry_sketches")) AS s CROSS JOIN LATERAL (
          SELECT coalesce(sum(b.n) FILTER (WHERE b.bin < s.\(percentile)_bin), 0) AS before,
            coalesce(sum(b.n) FILTER (WHERE b.bin = s.\(percentile)_bin), 0) AS hits
          FROM (
            SELECT bin, n FROM unnest(s.bins, s.bin_counts) AS a (bin, n)
            UNION ALL SELECT bin, n FROM unnest(s.recent_bins, s.recent_counts) AS r (bin, n)) AS b
        ) AS c
        WHERE s.kind = '\(name)' AND (c.before <> s.\(percentile)_before OR c.hits <> s.\(percentile)_hits
          OR NOT (\(rank) >= c.before AND \(rank) < c.before + c.hits))
        """
    }
  }

  private var eventCounts: [String] {
    let deltas = schema.summaryDeltasTable
    let batches = schema.pendingBatchesTable
    func check(_ table: String, _ measure: String, _ expected: String, _ stored: String) -> String {
      """
      SELECT '\(table)' AS table_name, \(keys("")), 0 AS place, '\(measure)' AS measure,
        e.n::text AS expected, s.n::text AS stored
      FROM (SELECT coalesce(\(expected), 0) AS n) AS e, (SELECT coalesce(\(stored), 0) AS n) AS s WHERE e.n <> s.n
      """
    }
    return [
      check(
        "chat_telemetry_fold_state", "folded_events", "(SELECT sum(total_requests) FROM \(totals))",
        "(SELECT folded_events FROM \(schema.table("chat_telemetry_fold_state")))"),
      check(
        "chat_telemetry_pending_batches", "events", "(SELECT sum(total_requests) FROM \(deltas))",
        "(SELECT sum(events) FROM \(batches))"),
      check(
        "chat_telemetry_pending_batches", "delta_rows", "(SELECT count(*) FROM \(deltas))",
        "(SELECT sum(delta_rows) FROM \(batches))"),
    ]
  }

  /// Positions that cannot be, listed as `VerificationSQL.listed` does.
  func offsets(limit: Int) -> String {
    """
    WITH position AS (
      SELECT *, min(cluster_id) OVER (PARTITION BY consumer_group, topic) AS cluster FROM \(schema.offsetsTable)
    )
    SELECT 'chat_telemetry_offsets', consumer_group, topic, partition::text, v.measure, v.expected, v.stored,
      count(*) OVER ()
    FROM position CROSS JOIN LATERAL (VALUES
      (start_offset < 0, 'start_offset', 'at least 0', start_offset::text),
      (next_offset < greatest(start_offset, 0), 'next_offset',
        'at least ' || greatest(start_offset, 0), next_offset::text),
      (cluster_id <> cluster, 'cluster_id', cluster || ', as the topic''s other partitions', cluster_id)
    ) AS v (differs, measure, expected, stored)
    WHERE v.differs ORDER BY consumer_group, topic, partition, v.measure LIMIT \(limit)
    """
  }
}
