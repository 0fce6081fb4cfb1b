/// The statements that make totals and all-time sketches anew: from the day rollups, with those that retention settled.
///
/// Day rollups have the blank model among `unknown`, totals and sketches keep the two apart. While the raw rows of every
/// event are there, they tell. Afterwards the total of the blank model keeps what it has, as far as the day rollups have
/// as much, and `unknown` gets the rest; where only one of the two has a total, it gets all. A sketch of `unknown` then
/// keeps its bins if any model is blank.
struct RebuildTotalsSQL {
  let schema: Schema
  let hasAllRawRows: Bool

  private var sources: VerificationTotals { VerificationTotals(schema: schema) }

  /// Totals; then sketches and the count of events can follow.
  var totals: String {
    let columns = VerificationSQL.columns
    let replacement = RowReplacement(
      table: schema.totalsTable, keys: ["domain", "model"], columns: VerificationSQL.measures.map(\.column),
      scope: "true")
    return """
      WITH merged AS MATERIALIZED (\(sources.merged)),
      unclear AS (\(hasAllRawRows ? unclearFromRawRows : unclearFromTotals)),
      total AS MATERIALIZED (
        SELECT domain, model, \(columns) FROM merged WHERE model <> 'unknown'
        UNION ALL SELECT domain, model, \(columns) FROM unclear
      ), \(replacement.parts("total"))
      SELECT
      """
  }

  private var unclearFromRawRows: String {
    let known = VerificationSQL.unclearModel
    return """
      SELECT domain, model, \(VerificationSQL.merged) FROM (
        SELECT domain, \(VerificationSQL.exactModel) AS model, \(VerificationSQL.rawColumns)
        FROM \(schema.rawTable) WHERE \(known) GROUP BY 1, 2
        UNION ALL
        SELECT domain, model, \(VerificationSQL.negated) FROM (
          SELECT domain, model, \(VerificationSQL.deltaColumns) FROM \(schema.summaryDeltasTable) WHERE \(known)
        ) AS pending
      ) AS part GROUP BY 1, 2 HAVING sum(total_requests) > 0
      """
  }

  private var unclearFromTotals: String {
    let parts = VerificationSQL.measures.map { measure in
      let column = measure.column
      let kept = Self.within("b.\(column)", "u.\(column)", measure.merge)
      let rest =
        measure.merge == .sum
        ? "u.\(column) - \(kept)"
        : """
        CASE WHEN \(kept) IS DISTINCT FROM u.\(column) THEN u.\(column)
          ELSE \(Self.within("w.\(column)", "u.\(column)", measure.merge)) END
        """
      return """
        CASE WHEN share = 'all' THEN u.\(column) WHEN share = 'kept' THEN \(kept) ELSE \(rest) END AS \(column)
        """
    }
    return """
      SELECT u.domain, s.model, \(parts.joined(separator: ",\n  "))
      FROM merged AS u
      LEFT JOIN \(schema.totalsTable) AS b ON coalesce(b.domain, '') = coalesce(u.domain, '')
        AND (b.domain IS NULL) = (u.domain IS NULL) AND b.model = ''
      LEFT JOIN \(schema.totalsTable) AS w ON coalesce(w.domain, '') = coalesce(u.domain, '')
        AND (w.domain IS NULL) = (u.domain IS NULL) AND w.model = 'unknown'
      CROSS JOIN LATERAL (VALUES
        ('', CASE WHEN b.model IS NULL THEN 'none'
          WHEN w.model IS NULL OR b.total_requests >= u.total_requests THEN 'all' ELSE 'kept' END),
        ('unknown', CASE WHEN b.model IS NULL THEN 'all'
          WHEN w.model IS NULL OR b.total_requests >= u.total_requests THEN 'none' ELSE 'rest' END)
      ) AS s (model, share)
      WHERE u.model = 'unknown' AND share <> 'none'
      """
  }

  /// A value that the day rollups do not contradict: a sum or a maximum at most theirs, a minimum at least theirs.
  private static func within(_ value: String, _ bound: String, _ merge: VerificationSQL.Merge) -> String {
    "CASE WHEN \(value) \(merge == .min ? "<" : ">") \(bound) OR \(bound) IS NULL THEN \(bound) ELSE \(value) END"
  }

  /// All-time sketches, after the totals.
  var sketches: String {
    let places = VerificationTotals.places
    let columns =
      ["timed_requests"] + places + ["recent_bins", "recent_counts", "bin_counts"]
    let replacement = RowReplacement(
      table: schema.sketchesTable, keys: ["kind", "name"], columns: columns, scope: "true",
      hasUpdateTime: false)
    let hits = """
      SELECT 'domain' AS kind, domain AS name, bin, n FROM merged WHERE domain IS NOT NULL AND bin IS NOT NULL
      UNION ALL SELECT 'model', model, bin, n FROM merged WHERE model <> 'unknown' AND bin IS NOT NULL
      UNION ALL \(hasAllRawRows ? unknownFromRawRows : unknownFromSketches)
      """
    return """
      WITH merged AS MATERIALIZED (\(sources.mergedBins)), sketch AS MATERIALIZED (
        SELECT *, '{}'::smallint[] AS recent_bins, '{}'::integer[] AS recent_counts
        FROM (\(VerificationTotals.places(of: hits))) AS placed
      ), \(replacement.parts("sketch"))
      SELECT
      """
  }

  private var unknownFromRawRows: String {
    """
    SELECT 'model', 'unknown', width_bucket(duration_ms - 1, $4)::smallint, count(*)
    FROM \(schema.rawTable) WHERE model = 'unknown' AND duration_ms IS NOT NULL GROUP BY 3
    UNION ALL
    SELECT 'model', 'unknown', u.bin, -u.n
    FROM \(schema.sketchDeltasTable), unnest(bins, bin_counts) AS u (bin, n) WHERE kind = 'model' AND name = 'unknown'
    """
  }

  private var unknownFromSketches: String {
    let isBlankKnown = "EXISTS (SELECT FROM \(schema.totalsTable) WHERE model = '')"
    return """
      SELECT 'model', 'unknown', bin, n FROM merged
      WHERE model = 'unknown' AND bin IS NOT NULL AND NOT \(isBlankKnown)
      UNION ALL
      SELECT kind, name, bin, n FROM (\(sources.storedBins)) AS kept
      WHERE kind = 'model' AND name = 'unknown' AND bin IS NOT NULL AND \(isBlankKnown)
      """
  }

  /// How many events were folded and how many sketches of days are not settled, after the totals.
  var foldState: String {
    """
    UPDATE \(schema.foldStateTable) SET
      folded_events = (SELECT coalesce(sum(total_requests), 0) FROM \(schema.totalsTable)),
      day_sketch_deltas = (SELECT count(*) FROM \(schema.daySketchDeltasTable))
    """
  }
}
