import TestSupport

/// The columns of the views and of the day rollups, computed from all events ever stored by plain SQL over the test's
/// own table of them.
struct SummaryTruth {
  let database: TestDatabase

  /// What differs, as rows of JSON; empty when all is well.
  func differences() throws -> [String] {
    try viewDifferences() + dayRollups() + daySketches()
  }

  /// The same, of the views alone.
  func viewDifferences() throws -> [String] {
    try exact("chat_telemetry_domain_summary", Self.domains, means: Self.domainMeans)
      + exact("chat_telemetry_model_summary", Self.models, means: Self.modelMeans)
      + percentiles()
  }

  private static let domainMeans = [
    "avg_cost_per_request", "avg_tokens_per_request", "avg_duration_ms", "avg_searches_per_request",
    "avg_iterations_per_request",
  ]
  private static let modelMeans = [
    "avg_cost_per_request", "cost_per_1k_tokens", "avg_duration_ms", "avg_tokens_per_request",
    "avg_input_tokens", "avg_output_tokens", "avg_searches_per_request", "avg_iterations_per_request",
  ]

  private static let domains = """
    SELECT t.domain, count(*) AS total_requests_all_time,
      count(*) FILTER (WHERE success) AS successful_requests_all_time,
      round(100.0 * count(*) FILTER (WHERE success) / count(*), 2) AS success_rate_pct,
      sum(coalesce(cost_usd, 0)) AS total_cost_usd_all_time, avg(coalesce(cost_usd, 0)) AS avg_cost_per_request,
      max(cost_usd) AS max_cost_single_request, sum(coalesce(input_tokens, 0)) AS total_input_tokens,
      sum(coalesce(output_tokens, 0)) AS total_output_tokens,
      sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
      avg(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS avg_tokens_per_request,
      avg(duration_ms) AS avg_duration_ms, max(duration_ms) AS max_duration_ms,
      avg(search_count) AS avg_searches_per_request, sum(search_count) AS total_searches,
      avg(iterations) AS avg_iterations_per_request,
      (SELECT coalesce(nullif(u.model, ''), 'unknown') FROM @.truth AS u WHERE u.domain = t.domain
        GROUP BY 1 ORDER BY count(*) DESC, coalesce(nullif(u.model, ''), 'unknown') COLLATE "C" LIMIT 1)
        AS most_used_model,
      count(DISTINCT coalesce(nullif(model, ''), 'unknown')) AS unique_models_used,
      min(created_at) AS first_request_at, max(created_at) AS last_request_at,
      count(*) FILTER (WHERE created_at >= day) AS requests_last_24h,
      coalesce(sum(cost_usd) FILTER (WHERE created_at >= day), 0) AS cost_last_24h,
      count(*) FILTER (WHERE created_at >= week) AS requests_last_7d,
      coalesce(sum(cost_usd) FILTER (WHERE created_at >= week), 0) AS cost_last_7d
    FROM @.truth AS t, edge WHERE domain IS NOT NULL GROUP BY domain
    """

  private static let models = """
    SELECT model, count(*) AS total_uses, count(DISTINCT domain) AS unique_domains,
      count(*) FILTER (WHERE success) AS successful_requests,
      round(100.0 * count(*) FILTER (WHERE success) / count(*), 2) AS success_rate_pct,
      sum(coalesce(cost_usd, 0)) AS total_cost, avg(coalesce(cost_usd, 0)) AS avg_cost_per_request,
      1000 * sum(coalesce(cost_usd, 0))
        / nullif(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0) AS cost_per_1k_tokens,
      avg(duration_ms) AS avg_duration_ms,
      avg(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS avg_tokens_per_request,
      avg(coalesce(input_tokens, 0)) AS avg_input_tokens, avg(coalesce(output_tokens, 0)) AS avg_output_tokens,
      sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)) AS total_tokens,
      avg(search_count) AS avg_searches_per_request, avg(iterations) AS avg_iterations_per_request,
      min(created_at) AS first_used_at, max(created_at) AS last_used_at,
      count(*) FILTER (WHERE created_at >= day) AS uses_last_24h,
      count(*) FILTER (WHERE created_at >= week) AS uses_last_7d
    FROM @.truth, edge WHERE model <> '' GROUP BY model
    """

  /// Every column but the percentiles, which are compared with a tolerance. Quotients are compared to 9 places.
  private func exact(_ view: String, _ truth: String, means: [String]) throws -> [String] {
    // The windows begin at the start of the minute that long before the refresh.
    let edge = """
      edge AS (
        SELECT date_trunc('minute', max(materialized_at), 'UTC') - interval '24 hours' AS day,
          date_trunc('minute', max(materialized_at), 'UTC') - interval '168 hours' AS week FROM @.\(view))
      """
    let columns = try database.rows(
      """
      SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = '@.\(view)'::regclass AND a.attnum > 0
        AND a.attname NOT IN ('median_duration_ms', 'p95_duration_ms', 'materialized_at') ORDER BY a.attnum
      """
    ).compactMap { $0[0] }
    let list = columns.map { means.contains($0) ? "round(\($0), 9) AS \($0)" : $0 }.joined(separator: ", ")
    return try differing(
      view, found: "SELECT \(list) FROM @.\(view)", expected: "SELECT \(list) FROM (\(truth)) AS whole",
      with: edge)
  }

  private func differing(
    _ what: String, found: String, expected: String, with: String? = nil
  ) throws -> [String] {
    try database.rows(
      """
      WITH \(with.map { "\($0)," } ?? "") found AS (\(found)), expected AS (\(expected))
      SELECT '\(what) has ' || to_jsonb(f)::text FROM (SELECT * FROM found EXCEPT ALL SELECT * FROM expected) AS f
      UNION ALL
      SELECT '\(what) lacks ' || to_jsonb(e)::text FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM found) AS e
      """
    ).compactMap { $0[0] }.sorted()
  }

  /// Percentiles that are more than 1 % away, or missing, or too many.
  private func percentiles() throws -> [String] {
    let comparisons = [
      ("domain", "median_duration_ms", 0.5), ("domain", "p95_duration_ms", 0.95),
      ("model", "p95_duration_ms", 0.95),
    ]
    return try comparisons.flatMap { key, column, fraction in
      try database.rows(
        """
        SELECT concat_ws(' ', '\(key)', v.\(key), '\(column)', v.\(column), 'for', t.truth)
        FROM @.chat_telemetry_\(key)_summary AS v
        FULL JOIN (
          SELECT \(key), percentile_cont(\(fraction)) WITHIN GROUP (ORDER BY duration_ms) AS truth
          FROM @.truth WHERE \(key) <> '' GROUP BY \(key)) AS t ON t.\(key) = v.\(key)
        WHERE (v.\(column) IS NULL) <> (t.truth IS NULL) OR abs(v.\(column) - t.truth) > 0.01 * t.truth
        """
      ).compactMap { $0[0] }
    }
  }

  private func dayRollups() throws -> [String] {
    let measures = """
      count(*), count(*) FILTER (WHERE success), count(*) FILTER (WHERE NOT success),
      sum(coalesce(input_tokens, 0)), sum(coalesce(output_tokens, 0)), sum(coalesce(cost_usd, 0)), max(cost_usd),
      sum(coalesce(duration_ms, 0)), count(duration_ms), max(duration_ms), sum(search_count), sum(iterations),
      min(created_at), max(created_at)
      """
    let columns = """
      total_requests, success_count, failure_count, total_input_tokens, total_output_tokens, total_cost_usd,
      max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
      first_request_at, last_request_at
      """
    let day = "date_trunc('day', created_at, 'UTC')"
    return try [
      ("chat_telemetry_rollups", "bucket_start", day),
      ("chat_telemetry_domain_rollups", "bucket_start, domain", "\(day), coalesce(domain, 'unknown')"),
      (
        "chat_telemetry_model_rollups", "bucket_start, domain, model",
        "\(day), domain, coalesce(nullif(model, ''), 'unknown')"
      ),
    ].flatMap { table, keys, expressions in
      let numbers = (1...keys.split(separator: ",").count).map(String.init).joined(separator: ", ")
      return try differing(
        "\(table) of days", found: "SELECT \(keys), \(columns) FROM @.\(table) WHERE granularity = 'day'",
        expected: "SELECT \(expressions), \(measures) FROM @.truth GROUP BY \(numbers)")
    }
  }

  /// The sketches of the days hold each duration once, and all together what the sketches of all time hold.
  private func daySketches() throws -> [String] {
    let days = """
      days AS (
        SELECT r.bucket_start AS day, r.domain, r.model, u.bin, u.n
        FROM @.chat_telemetry_model_rollups AS r, unnest(r.duration_bins, r.duration_bin_counts) AS u (bin, n)
        UNION ALL
        SELECT d.day::timestamp AT TIME ZONE 'UTC', d.domain, d.model, u.bin, u.n
        FROM @.chat_telemetry_day_sketch_deltas AS d, unnest(d.bins, d.bin_counts) AS u (bin, n))
      """
    return try differing(
      "sketches of days", found: "SELECT day, domain, model, sum(n) FROM days GROUP BY 1, 2, 3",
      expected: """
        SELECT date_trunc('day', created_at, 'UTC'), domain, coalesce(nullif(model, ''), 'unknown'),
          count(duration_ms)
        FROM @.truth GROUP BY 1, 2, 3 HAVING count(duration_ms) > 0
        """, with: days)
      + differing(
        "sketches of domains",
        found: """
          SELECT name, bin, sum(n) FROM (
            SELECT name, u.bin, u.n FROM @.chat_telemetry_sketches,
              LATERAL (SELECT array_lower(bin_counts, 1) + place - 1 AS bin, n
                FROM unnest(bin_counts) WITH ORDINALITY AS c (n, place) WHERE n <> 0) AS u
            WHERE kind = 'domain'
            UNION ALL
            SELECT name, u.bin, u.n FROM @.chat_telemetry_sketches, unnest(recent_bins, recent_counts) AS u (bin, n)
            WHERE kind = 'domain') AS hits GROUP BY 1, 2
          """, expected: "SELECT domain, bin, sum(n) FROM days WHERE domain IS NOT NULL GROUP BY 1, 2",
        with: days)
  }
}
