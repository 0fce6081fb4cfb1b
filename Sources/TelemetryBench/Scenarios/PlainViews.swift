import Postgres

/// The two summary views as they would be defined without rollups: over the raw rows.
struct PlainViews {
  let connection: Connection

  func cpuSecondsOfRefresh(_ surroundings: Surroundings) throws -> Double {
    for (name, definition) in Self.views {
      try connection.execute(
        "CREATE MATERIALIZED VIEW \(name) AS \(definition) WITH NO DATA", operation: "define a view"
      )
    }
    // Of all the server's processes: a query of this size is shared among several.
    let before = try surroundings.usage(connection).cpuSeconds
    for (name, _) in Self.views {
      try connection.execute(
        "REFRESH MATERIALIZED VIEW \(name)", operation: "refresh a view over the raw rows")
    }
    return try surroundings.usage(connection).cpuSeconds - before
  }

  private static let views = [("bench_domain_summary", domains), ("bench_model_summary", models)]

  private static let shared = """
    round(100 * count(*) FILTER (WHERE success)::numeric / count(*), 2) AS success_rate_pct,
    avg(coalesce(cost_usd, 0)) AS avg_cost_per_request, avg(duration_ms) AS avg_duration_ms,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_duration_ms,
    avg(total_tokens) AS avg_tokens_per_request, sum(total_tokens) AS total_tokens,
    avg(search_count) AS avg_searches_per_request, avg(iterations) AS avg_iterations_per_request,
    count(*) FILTER (WHERE created_at >= date_trunc('minute', now() - interval '24 hours')) AS last_24h,
    count(*) FILTER (WHERE created_at >= date_trunc('minute', now() - interval '168 hours')) AS last_7d,
    min(created_at) AS first_at, max(created_at) AS last_at, now() AS materialized_at
    """

  private static let domains = """
    SELECT domain, count(*) AS total_requests_all_time,
      count(*) FILTER (WHERE success) AS successful_requests_all_time,
      sum(cost_usd) AS total_cost_usd_all_time, max(cost_usd) AS max_cost_single_request,
      sum(input_tokens) AS total_input_tokens, sum(output_tokens) AS total_output_tokens,
      percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS median_duration_ms,
      max(duration_ms) AS max_duration_ms, sum(search_count) AS total_searches,
      mode() WITHIN GROUP (ORDER BY model) AS most_used_model, count(DISTINCT model) AS unique_models_used,
      sum(cost_usd) FILTER (WHERE created_at >= date_trunc('minute', now() - interval '24 hours')) AS cost_last_24h,
      sum(cost_usd) FILTER (WHERE created_at >= date_trunc('minute', now() - interval '168 hours')) AS cost_last_7d,
      \(shared)
    FROM chat_telemetry WHERE domain IS NOT NULL GROUP BY domain
    """

  private static let models = """
    SELECT model, count(*) AS total_uses, count(DISTINCT domain) AS unique_domains,
      count(*) FILTER (WHERE success) AS successful_requests, sum(cost_usd) AS total_cost,
      1000 * sum(cost_usd) / nullif(sum(total_tokens), 0) AS cost_per_1k_tokens,
      avg(coalesce(input_tokens, 0)) AS avg_input_tokens, avg(coalesce(output_tokens, 0)) AS avg_output_tokens,
      \(shared)
    FROM chat_telemetry WHERE btrim(model) <> '' GROUP BY model
    """
}
