/// The statements that compare what has no place in time: totals, sketches, what is pending, positions. Fold moves a
/// batch into day rollups, totals and sketches at once, so each follows from another without what is pending. The
/// parameters are those of `VerificationDays`.
struct VerificationTotals {
  let schema: Schema

  private var dayRows: String { schema.dayModelRollupsTable }
  private var totals: String { schema.totalsTable }

  /// Whether the raw rows of every event are there: then they tell a blank model from the word `unknown`, which day
  /// rollups do not.
  var hasAllRawRows: String {
    """
    SELECT NOT EXISTS (
        SELECT FROM \(schema.daysTable) WHERE dropped_at IS NOT NULL AND coalesce(dropped_rows, 1) > 0)
      AND NOT EXISTS (SELECT FROM \(schema.settledRollupsTable))
    """
  }

  /// Day rollups and those that retention settled, by domain and model as both name them.
  var merged: String {
    """
    SELECT domain, model, \(VerificationSQL.merged) FROM (
      SELECT domain, model, \(VerificationSQL.columns) FROM \(dayRows)
      UNION ALL SELECT domain, model, \(VerificationSQL.columns) FROM \(schema.settledRollupsTable)
    ) AS part GROUP BY domain, model
    """
  }

  /// The hits in the sketches of those, and of what is not settled into day rollups yet.
  var mergedBins: String {
    """
    SELECT domain, model, u.bin, u.n FROM \(dayRows), unnest(duration_bins, duration_bin_counts) AS u (bin, n)
    UNION ALL
    SELECT domain, model, u.bin, u.n
    FROM \(schema.settledRollupsTable), unnest(duration_bins, duration_bin_counts) AS u (bin, n)
    UNION ALL
    SELECT domain, model, u.bin, u.n FROM \(schema.daySketchDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
    """
  }

  /// Totals against day rollups, by domain and model as day rollups name them, and sketches likewise.
  ///
  /// - Parameter known: Only what both name alike; `unclearAgainstRawRows` compares the rest.
  func againstDayRows(known: Bool) -> String {
    [totalsAgainstDayRows(known), sketches("domain", known), sketches("model", known)]
      .map { "SELECT * FROM (\($0)) AS part" }.joined(separator: "\nUNION ALL\n")
  }

  private func totalsAgainstDayRows(_ known: Bool) -> String {
    let keys = "NULL::timestamptz AS bucket_start, domain"
    let condition = known ? "WHERE NOT \(VerificationSQL.unclearModel)" : ""
    return VerificationSQL.differences(
      table: "chat_telemetry_totals",
      expected: "(SELECT NULL::timestamptz AS bucket_start, * FROM (\(merged)) AS x \(condition))",
      stored: """
        (SELECT \(keys), \(VerificationSQL.model) AS model, \(VerificationSQL.merged)
        FROM \(totals) \(condition) GROUP BY 1, 2, 3)
        """,
      measures: VerificationSQL.measures)
  }

  /// Totals of blank models and of the word `unknown`, and the latter's sketch, against the raw rows of all days.
  var unclearAgainstRawRows: String {
    let keys = "NULL::timestamptz AS bucket_start, domain, \(VerificationSQL.exactModel) AS model"
    let known = VerificationSQL.unclearModel
    let totals = VerificationSQL.differences(
      table: "chat_telemetry_totals",
      expected:
        "(SELECT \(keys), \(VerificationSQL.rawColumns) FROM \(schema.rawTable) WHERE \(known) GROUP BY 2, 3)",
      stored: """
        (SELECT NULL::timestamptz AS bucket_start, domain, model, \(VerificationSQL.merged) FROM (
          SELECT domain, model, \(VerificationSQL.columns) FROM \(self.totals) WHERE \(known)
          UNION ALL SELECT domain, model, \(VerificationSQL.deltaColumns) FROM \(schema.summaryDeltasTable) WHERE \(known)
        ) AS part GROUP BY 2, 3)
        """,
      measures: VerificationSQL.measures)
    let bins = VerificationSQL.binDifferences(
      table: "chat_telemetry_sketches", measure: "bins",
      expected: """
        SELECT \(self.keys("model")), width_bucket(duration_ms - 1, $4) AS bin, count(*) AS n
        FROM \(schema.rawTable) WHERE model = 'unknown' AND duration_ms IS NOT NULL GROUP BY model, 4
        """,
      stored: """
        SELECT \(self.keys("model")), bin, n FROM (\(allBins("model"))) AS s WHERE model = 'unknown'
        UNION ALL
        SELECT \(self.keys("model", value: "name")), u.bin, u.n
        FROM \(schema.sketchDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
        WHERE kind = 'model' AND name = 'unknown'
        """)
    return "SELECT * FROM (\(totals)) AS t\nUNION ALL\nSELECT * FROM (\(bins)) AS b"
  }

  /// Day rollups have the blank model among `unknown`, sketches do not: where a model is blank, `unknown` is left to
  /// the comparison with the totals.
  private func sketches(_ name: String, _ isKnown: Bool) -> String {
    let isBlankKnown = "EXISTS (SELECT FROM \(totals) WHERE \(VerificationSQL.blankModel))"
    let known =
      name == "domain"
      ? "domain IS NOT NULL"
      : "model <> 'unknown'" + (isKnown ? "" : " OR NOT \(isBlankKnown)")
    return VerificationSQL.binDifferences(
      table: "chat_telemetry_sketches", measure: "bins",
      expected: "SELECT \(keys(name)), bin, n FROM (\(mergedBins)) AS d WHERE (\(known))",
      stored: "SELECT \(keys(name)), bin, n FROM (\(allBins(name))) AS s WHERE (\(known))")
  }

  /// The bins of every all-time sketch of domains or models: those summed up and the recent ones.
  private func allBins(_ name: String) -> String {
    "SELECT name AS \(name), bin, n FROM (\(storedBins)) AS s WHERE kind = '\(name)'"
  }

  var storedBins: String {
    """
    SELECT s.kind, s.name, u.bin, u.n FROM \(schema.sketchesTable) AS s, LATERAL (
      SELECT array_lower(s.bin_counts, 1) + a.place - 1 AS bin, n
      FROM unnest(s.bin_counts) WITH ORDINALITY AS a (n, place) WHERE n <> 0
      UNION ALL SELECT bin, n FROM unnest(s.recent_bins, s.recent_counts) AS b (bin, n)) AS u
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

  /// What must agree within one moment's totals, sketches and windows.
  var withinTotals: String {
    ([counts("domain"), counts("model"), percentiles, pendingSketches, settledSketches] + eventCounts)
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

  static let places = [("median", 50), ("p95", 95)].flatMap { percentile, _ in
    ["bin", "before", "hits", "next"].map { "\(percentile)_\($0)" }
  }

  /// Ascending bins `bin` with their hits `n` as an array whose subscripts are the bins.
  private static let dense = """
    format('[%s:%s]={%s}', min(bin), max(bin),
      string_agg(repeat('0,', (bin - previous - 1)::integer) || n, ',' ORDER BY bin))::bigint[]
    """

  /// The places of both percentiles in sketches given as `kind`, `name`, `bin` and `n`, counted again: the lower of the
  /// two order statistics has the rank p * (total - 1), counted from 0.
  static func places(of bins: String) -> String {
    let columns = [("median", 50), ("p95", 95)].flatMap { percentile, percent in
      let rank = "\(percent) * (timed - 1) / 100"
      return [
        "min(bin) FILTER (WHERE upto > \(rank)) AS \(percentile)_bin",
        "min(upto - n) FILTER (WHERE upto > \(rank)) AS \(percentile)_before",
        "(array_agg(n ORDER BY bin) FILTER (WHERE upto > \(rank)))[1] AS \(percentile)_hits",
        "min(bin) FILTER (WHERE upto - n > \(rank)) AS \(percentile)_next",
      ]
    }
    return """
      SELECT kind, name, timed AS timed_requests, \(columns.joined(separator: ", ")),
        \(dense) AS bin_counts
      FROM (
        SELECT *, sum(n) OVER (PARTITION BY kind, name ORDER BY bin)::bigint AS upto,
          coalesce(lag(bin) OVER (PARTITION BY kind, name ORDER BY bin), bin - 1) AS previous,
          sum(n) OVER (PARTITION BY kind, name)::bigint AS timed
        FROM (
          SELECT kind, name, bin, sum(n)::bigint AS n FROM (\(bins)) AS hit GROUP BY 1, 2, 3 HAVING sum(n) > 0
        ) AS counted
      ) AS ranked GROUP BY kind, name, timed
      """
  }

  /// The number of hits and the places that a sketch remembers, against its own bins.
  private var percentiles: String {
    let values = (["timed_requests"] + Self.places).enumerated().map { place, column in
      "(\(place + 1), '\(column)', p.\(column)::text, s.\(column)::text)"
    }
    return """
      SELECT 'chat_telemetry_sketches' AS table_name, NULL::timestamptz AS bucket_start,
        CASE s.kind WHEN 'domain' THEN s.name END AS domain, CASE s.kind WHEN 'model' THEN s.name END AS model,
        v.place, v.measure, v.expected, v.stored
      FROM \(schema.sketchesTable) AS s LEFT JOIN (\(Self.places(of: storedBins))) AS p USING (kind, name)
      CROSS JOIN LATERAL (VALUES \(values.joined(separator: ", "))) AS v (place, measure, expected, stored)
      WHERE v.expected IS DISTINCT FROM v.stored
      """
  }

  /// What is pending for the sketches, by name, against the same by day, domain and model.
  private var pendingSketches: String {
    VerificationSQL.binDifferences(
      table: "chat_telemetry_sketch_deltas", measure: "bins",
      expected: ["domain", "model"].map { name in
        """
        SELECT \(keys(name)), u.bin, u.n FROM \(schema.summaryDeltasTable), unnest(bins, bin_counts) AS u (bin, n)
        WHERE \(name == "domain" ? "domain IS NOT NULL" : "model <> ''")
        """
      }.joined(separator: "\nUNION ALL\n"),
      stored: ["domain", "model"].map { name in
        """
        SELECT \(keys(name, value: "name")), u.bin, u.n
        FROM \(schema.sketchDeltasTable), unnest(bins, bin_counts) AS u (bin, n) WHERE kind = '\(name)'
        """
      }.joined(separator: "\nUNION ALL\n"))
  }

  /// What retention settled can be compared with nothing else any more.
  private var settledSketches: String {
    """
    SELECT 'chat_telemetry_settled_rollups' AS table_name, NULL::timestamptz AS bucket_start, domain, model, 0 AS place,
      'duration_bin_counts' AS measure, timed_requests::text AS expected, counted::text AS stored
    FROM (
      SELECT domain, model, timed_requests,
        (SELECT coalesce(sum(n), 0) FROM unnest(duration_bin_counts) AS u (n)) AS counted
      FROM \(schema.settledRollupsTable)) AS r
    WHERE timed_requests <> counted
    """
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
        "(SELECT folded_events FROM \(schema.foldStateTable))"),
      check(
        "chat_telemetry_fold_state", "day_sketch_deltas",
        "(SELECT count(*) FROM \(schema.daySketchDeltasTable))",
        "(SELECT day_sketch_deltas FROM \(schema.foldStateTable))"),
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
