import Postgres
import Store
import TestSupport
import Testing

/// Events of two days, folded and settled, folded only, and pending, and what rebuilding and verifying make of them.
struct RebuildStage {
  let summaries: SummaryStage
  var database: TestDatabase { summaries.database }

  init(events: Int = 600) throws {
    summaries = try SummaryStage()
    // Pending are 20 events that are extreme in nothing: an extreme that waits to be folded is written at once.
    let twin = summaries.bare("acme.example", "large", agoMs: 7_200_000, durationMs: 9)
    let all = [twin] + summaries.events(events, seed: 41, spanMs: 26 * 3_600_000)
    try summaries.store.write(Array(all[..<(events / 2)]))
    _ = try summaries.summaries().fold()
    try summaries.summaries().settleDaySketches()
    try summaries.store.write(Array(all[(events / 2)...]))
    _ = try summaries.summaries().fold()
    try summaries.store.write(
      (0..<20).map { _ in summaries.bare("acme.example", "large", agoMs: 7_200_000, durationMs: 9) })
  }

  /// Sketches of days that are not settled, which a rebuild of a day leaves none of.
  func fillDaySketchDeltas(seed: UInt64) throws {
    try summaries.store.write(summaries.events(40, seed: seed, spanMs: 26 * 3_600_000))
    _ = try summaries.summaries().fold()
  }

  func verify() throws -> VerificationReport {
    try Verification(connection: try database.connect(), schema: database.schema, limit: 10_000).run()
  }

  @discardableResult
  func rebuild(_ days: Rebuild.Days = .all, dryRun: Bool = false) throws -> RebuildReport {
    try Rebuild(connection: try database.connect(), schema: database.schema, limit: 10_000, dryRun: dryRun)
      .run(days)
  }

  // MARK: What is stored

  /// The tables that a rebuild keeps right.
  static let tables =
    ["rollups", "domain_rollups", "model_rollups"].flatMap {
      ["chat_telemetry_\($0)_hour", "chat_telemetry_\($0)_day"]
    }
    + ["totals", "sketches", "day_sketch_deltas", "window_days", "window_hours", "fold_state"]
    .map { "chat_telemetry_\($0)" }

  /// Everything that is stored in them, in a form in which a sketch or an hour of minutes has one spelling.
  func contents() throws -> [[String?]] {
    var found: [[String?]] = []
    for table in Self.tables where table != "chat_telemetry_day_sketch_deltas" {
      found += try database.rows(
        """
        SELECT '\(table)', (to_jsonb(t) - '{created_at, updated_at, folded_at, day_sketch_deltas, duration_bins,
          duration_bin_counts, bins, bin_counts, recent_bins, recent_counts,
          minutes, minute_requests, minute_costs}'::text[])::text
        FROM @.\(table) AS t ORDER BY 2
        """)
    }
    found += try database.rows(
      """
      SELECT bucket_start, domain, model, bin, sum(n) FROM (
        SELECT bucket_start, domain, model, u.bin, u.n
        FROM @.chat_telemetry_model_rollups, unnest(duration_bins, duration_bin_counts) AS u (bin, n)
        UNION ALL
        SELECT day::timestamp AT TIME ZONE 'UTC', domain, model, u.bin, u.n
        FROM @.chat_telemetry_day_sketch_deltas, unnest(bins, bin_counts) AS u (bin, n)) AS hit
      GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
      """)
    found += try database.rows(
      """
      SELECT kind, name, bin, sum(n) FROM (
        SELECT kind, name, u.bin, u.n FROM @.chat_telemetry_sketches,
          LATERAL (SELECT array_lower(bin_counts, 1) + place - 1 AS bin, n
            FROM unnest(bin_counts) WITH ORDINALITY AS c (n, place) WHERE n <> 0) AS u
        UNION ALL
        SELECT kind, name, u.bin, u.n FROM @.chat_telemetry_sketches, unnest(recent_bins, recent_counts) AS u (bin, n)
      ) AS hit GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
      """)
    found += try database.rows(
      """
      SELECT kind, start, name, minute, sum(u.requests), sum(u.cost)
      FROM @.chat_telemetry_window_hours,
        unnest(minutes, minute_requests, minute_costs) AS u (minute, requests, cost)
      GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
      """)
    return found
  }

  // MARK: Corruption

  struct Column {
    var name: String
    var type: String
    var isKey: Bool
    var isArray: Bool { type == "ARRAY" }
  }

  private static let keys = [
    "bucket_start", "domain", "model", "kind", "name", "start", "day",
  ]
  /// Times of writing, and what the partition or a constraint keeps from being anything else.
  private static let notData = ["created_at", "updated_at", "folded_at", "granularity", "only_row"]

  /// Every column that can be written and holds data.
  func columns(of table: String) throws -> [Column] {
    try database.rows(
      """
      SELECT column_name, data_type FROM information_schema.columns
      WHERE table_schema = '\(database.schema.name)' AND table_name = '\(table)' AND is_generated = 'NEVER'
      ORDER BY ordinal_position
      """
    ).map { Column(name: $0[0]!, type: $0[1]!, isKey: Self.keys.contains($0[0]!)) }
      .filter { !Self.notData.contains($0.name) }
  }

  /// An expression for a value that is near the stored one and wrong.
  func wrong(_ column: Column, in table: String) -> String {
    let name = column.name
    switch (column.type, name) {
    case (_, "kind"):
      return table.hasSuffix("sketches")
        ? "CASE kind WHEN 'model' THEN 'domain' ELSE 'model' END" : "kind || 'x'"
    case ("text", _): return "coalesce(\(name), '') || 'x'"
    case ("ARRAY", _): return "coalesce(\(name)[1], 0) + 1"
    case ("date", _): return "\(name) + 1"
    case ("timestamp with time zone", let name) where name.hasPrefix("first"):
      return "\(name) - interval '1 hour'"
    case ("timestamp with time zone", _): return "\(name) + interval '7 minutes'"
    case (_, "max_cost_usd"): return "\(name) - 0.000001"
    default: return "coalesce(\(name), 0) + 1"
    }
  }

  /// Writes wrong values into columns of one row: the one with most requests among those that have all of them, if any.
  func corrupt(_ columns: [Column], of table: String) throws {
    let isFilled = columns.map { column in
      let filled = "(\(column.name) IS NOT NULL)::int"
      return column.isArray ? "coalesce(cardinality(\(column.name)), 0) + \(filled)" : filled
    }
    let changes = columns.map { column in
      "\(column.name)\(column.isArray ? "[1]" : "") = \(wrong(column, in: table))"
    }
    // A domain and a model may have the same name: neither can become the other.
    let scope =
      table.hasSuffix("sketches")
      ? "WHERE NOT EXISTS (SELECT FROM @.\(table) AS o WHERE o.name = t.name AND o.kind <> t.kind)" : ""
    let changed = try database.rows(
      """
      UPDATE @.\(table) SET \(changes.joined(separator: ", ")) WHERE (tableoid, ctid) = (
        SELECT tableoid, ctid FROM @.\(table) AS t \(scope)
        ORDER BY \(isFilled.joined(separator: " + ")) DESC, (to_jsonb(t) ->> 'total_requests')::numeric DESC LIMIT 1)
      RETURNING 1
      """)
    #expect(changed.count == 1, "\(table) \(columns.map(\.name))")
  }

  func deleteRow(of table: String) throws {
    try database.rows(
      """
      DELETE FROM @.\(table) WHERE (tableoid, ctid) = (
        SELECT tableoid, ctid FROM @.\(table) ORDER BY tableoid, ctid LIMIT 1)
      """)
  }

  /// Adds a copy of a row under another key.
  func addRow(to table: String) throws {
    let columns = try database.rows(
      """
      SELECT column_name FROM information_schema.columns WHERE table_schema = '\(database.schema.name)'
        AND table_name = '\(table)' AND is_generated = 'NEVER' ORDER BY ordinal_position
      """
    ).compactMap { $0[0] }
    let key = try #require(["name", "model", "domain", "bucket_start"].first { columns.contains($0) })
    let values = columns.map { column in
      column != key
        ? column : key == "bucket_start" ? "bucket_start + interval '30 days'" : "'nobody.example'"
    }
    let added = try database.rows(
      """
      INSERT INTO @.\(table) (\(columns.joined(separator: ", "))) SELECT \(values.joined(separator: ", "))
      FROM @.\(table) LIMIT 1 RETURNING 1
      """)
    #expect(added.count == 1)
  }
}

/// What retention does to a day, each step in one go.
extension TestDatabase {
  /// - Parameter day: `YYYY-MM-DD`.
  func dropRawRows(of day: String) throws {
    let leaf = "chat_telemetry_\(day.replacing("-", with: "_"))"
    try rows(
      """
      UPDATE @.chat_telemetry_days SET dropped_at = now(), dropped_rows = (SELECT count(*) FROM @.\(leaf))
      WHERE day = '\(day)';
      DROP TABLE @.\(leaf)
      """)
  }

  /// Moves the day rows, whose sketches must be settled, into the settled rows, and deletes all other rollups.
  func settleRollups(of day: String) throws {
    let columns = """
      domain, model, total_requests, success_count, failure_count, total_input_tokens, total_output_tokens,
      total_cost_usd, max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches,
      total_iterations, first_request_at, last_request_at, duration_bins, duration_bin_counts
      """
    let deletions = ["rollups", "domain_rollups", "model_rollups"].map { table in
      """
      DELETE FROM @.chat_telemetry_\(table)
      WHERE bucket_start >= '\(day)Z' AND bucket_start < timestamptz '\(day)Z' + interval '1 day'
      """
    }
    try rows(
      """
      INSERT INTO @.chat_telemetry_settled_rollups (\(columns))
      SELECT \(columns) FROM @.chat_telemetry_model_rollups_day WHERE bucket_start = '\(day)Z';
      UPDATE @.chat_telemetry_days SET hours_dropped_at = now(), settled_at = now() WHERE day = '\(day)';
      \(deletions.joined(separator: "; "))
      """)
  }
}
