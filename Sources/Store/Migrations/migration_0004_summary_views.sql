-- The two summary views and their refresh.

-- The duration that a bin of the sketch stands for, in ms. The worker bins with the same gamma, 1009/991 (0.9 %).
CREATE FUNCTION @schema@.chat_telemetry_bin_value(bin smallint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
  SELECT CASE WHEN bin <= 0 THEN 0
    ELSE least(greatest(2 * power(1009 / 991.0::float8, bin - 1) / (1 + 1009 / 991.0::float8), 1), 2147483647) END
$function$;

-- A percentile in ms, as percentile_cont has it: interpolated between the order statistics around rank
-- percent / 100 * (timed - 1), counted from 0. The lower one is in the bin, and so is the upper one unless the bin ends
-- before it. One expression, which the planner puts in the call's place.
CREATE FUNCTION @schema@.chat_telemetry_percentile(
  percent integer, timed bigint, bin smallint, before bigint, hits bigint, next_bin smallint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
  SELECT @schema@.chat_telemetry_bin_value(bin) * (1 - (percent * (timed - 1) % 100) / 100.0::float8)
    + @schema@.chat_telemetry_bin_value(
      CASE WHEN percent * (timed - 1) / 100 + 1 < before + hits THEN bin ELSE coalesce(next_bin, bin) END)
    * ((percent * (timed - 1) % 100) / 100.0::float8)
$function$;

-- Requests and cost of each domain or model (kind) since the start of a minute: the whole days after it, the hours of its
-- day after it, and the minutes of its hour from it on. In the first half of a day those hours are the day without the
-- hours up to it, which are fewer.
CREATE FUNCTION @schema@.chat_telemetry_since(of_kind text, since timestamptz)
RETURNS TABLE (name text, requests bigint, cost_micros bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $function$
  SELECT part.name, @schema@.chat_telemetry_sum(part.requests), @schema@.chat_telemetry_sum(part.cost)
  FROM (
    SELECT d.name, d.requests, d.cost_micros AS cost FROM @schema@.chat_telemetry_window_days AS d
    WHERE d.kind = of_kind AND d.start > CASE
      WHEN extract(hour FROM since AT TIME ZONE 'UTC')::integer < 12 THEN since - interval '1 day' ELSE since END
    UNION ALL
    SELECT h.name, h.requests, h.cost_micros FROM @schema@.chat_telemetry_window_hours AS h
    WHERE extract(hour FROM since AT TIME ZONE 'UTC')::integer >= 12
      AND h.kind = of_kind AND h.start > since AND h.start < date_trunc('day', since, 'UTC') + interval '24 hours'
    UNION ALL
    SELECT h.name, - h.requests, - h.cost_micros FROM @schema@.chat_telemetry_window_hours AS h
    WHERE extract(hour FROM since AT TIME ZONE 'UTC')::integer < 12
      AND h.kind = of_kind AND h.start <= since AND h.start >= date_trunc('day', since, 'UTC')
    UNION ALL
    SELECT m.name, m.requests, m.cost
    FROM (
      SELECT h.name, unnest(h.minutes) AS minute, unnest(h.minute_requests) AS requests, unnest(h.minute_costs) AS cost
      FROM @schema@.chat_telemetry_window_hours AS h
      WHERE h.kind = of_kind AND h.start = date_trunc('hour', since, 'UTC')
    ) AS m
    WHERE m.minute >= extract(minute FROM since AT TIME ZONE 'UTC')::integer
  ) AS part
  GROUP BY part.name
$function$;

CREATE MATERIALIZED VIEW @schema@.chat_telemetry_domain_summary AS
WITH model_use AS (
  -- Within a domain a blank model counts as 'unknown'.
  SELECT domain, model, total_requests AS requests
  FROM @schema@.chat_telemetry_totals WHERE domain IS NOT NULL AND model NOT IN ('', 'unknown')
  UNION ALL
  SELECT domain, 'unknown', @schema@.chat_telemetry_sum(total_requests)
  FROM @schema@.chat_telemetry_totals WHERE domain IS NOT NULL AND model IN ('', 'unknown') GROUP BY domain
), favourite AS (
  SELECT DISTINCT ON (domain COLLATE "C") domain, model
  FROM model_use ORDER BY domain COLLATE "C", requests DESC, model COLLATE "C"
), total AS (
  SELECT domain, @schema@.chat_telemetry_sum(total_requests) AS requests,
    @schema@.chat_telemetry_sum(success_count) AS successes, sum(total_cost_usd) AS cost, max(max_cost_usd) AS dearest,
    @schema@.chat_telemetry_sum(total_input_tokens) AS input, @schema@.chat_telemetry_sum(total_output_tokens) AS output,
    @schema@.chat_telemetry_sum(total_duration_ms) AS duration, @schema@.chat_telemetry_sum(timed_requests) AS timed,
    max(max_duration_ms) AS longest, @schema@.chat_telemetry_sum(total_searches) AS searches,
    @schema@.chat_telemetry_sum(total_iterations) AS iterations,
    count(*) - (bool_or(model = '') AND bool_or(model = 'unknown'))::integer AS models,
    min(first_request_at) AS first_at, max(last_request_at) AS last_at
  FROM @schema@.chat_telemetry_totals WHERE domain IS NOT NULL GROUP BY domain
)
SELECT t.domain,
  t.requests AS total_requests_all_time,
  t.successes AS successful_requests_all_time,
  round(100 * t.successes::numeric / t.requests, 2) AS success_rate_pct,
  t.cost AS total_cost_usd_all_time,
  t.cost / t.requests AS avg_cost_per_request,
  t.dearest AS max_cost_single_request,
  t.input AS total_input_tokens,
  t.output AS total_output_tokens,
  t.input + t.output AS total_tokens,
  (t.input + t.output)::numeric / t.requests AS avg_tokens_per_request,
  t.duration::numeric / nullif(t.timed, 0) AS avg_duration_ms,
  @schema@.chat_telemetry_percentile(
    50, s.timed_requests, s.median_bin, s.median_before, s.median_hits, s.median_next) AS median_duration_ms,
  @schema@.chat_telemetry_percentile(
    95, s.timed_requests, s.p95_bin, s.p95_before, s.p95_hits, s.p95_next) AS p95_duration_ms,
  t.longest AS max_duration_ms,
  t.searches::numeric / t.requests AS avg_searches_per_request,
  t.searches AS total_searches,
  t.iterations::numeric / t.requests AS avg_iterations_per_request,
  f.model AS most_used_model,
  t.models AS unique_models_used,
  t.first_at AS first_request_at,
  t.last_at AS last_request_at,
  coalesce(d.requests, 0) AS requests_last_24h,
  coalesce(d.cost_micros, 0) * 0.000001 AS cost_last_24h,
  coalesce(w.requests, 0) AS requests_last_7d,
  coalesce(w.cost_micros, 0) * 0.000001 AS cost_last_7d,
  now() AS materialized_at
FROM total AS t
JOIN favourite AS f USING (domain)
LEFT JOIN @schema@.chat_telemetry_sketches AS s ON s.kind = 'domain' AND s.name = t.domain
-- A window begins at the start of the minute that long ago.
LEFT JOIN @schema@.chat_telemetry_since('domain', date_trunc('minute', now() - interval '24 hours', 'UTC')) AS d
  ON d.name = t.domain
LEFT JOIN @schema@.chat_telemetry_since('domain', date_trunc('minute', now() - interval '168 hours', 'UTC')) AS w
  ON w.name = t.domain
WITH NO DATA;

CREATE UNIQUE INDEX idx_chat_telemetry_domain_summary_domain ON @schema@.chat_telemetry_domain_summary (domain);
CREATE INDEX idx_chat_telemetry_domain_summary_cost
  ON @schema@.chat_telemetry_domain_summary (total_cost_usd_all_time DESC);
CREATE INDEX idx_chat_telemetry_domain_summary_activity
  ON @schema@.chat_telemetry_domain_summary (requests_last_24h DESC);
CREATE INDEX idx_chat_telemetry_domain_summary_performance
  ON @schema@.chat_telemetry_domain_summary (p95_duration_ms DESC);

CREATE MATERIALIZED VIEW @schema@.chat_telemetry_model_summary AS
WITH total AS (
  -- A model's rows are of different domains, each once.
  SELECT model, @schema@.chat_telemetry_sum(total_requests) AS requests, count(domain) AS domains,
    @schema@.chat_telemetry_sum(success_count) AS successes, sum(total_cost_usd) AS cost,
    @schema@.chat_telemetry_sum(total_input_tokens) AS input, @schema@.chat_telemetry_sum(total_output_tokens) AS output,
    @schema@.chat_telemetry_sum(total_duration_ms) AS duration, @schema@.chat_telemetry_sum(timed_requests) AS timed,
    @schema@.chat_telemetry_sum(total_searches) AS searches, @schema@.chat_telemetry_sum(total_iterations) AS iterations,
    min(first_request_at) AS first_at, max(last_request_at) AS last_at
  FROM @schema@.chat_telemetry_totals WHERE model <> '' GROUP BY model
)
SELECT t.model,
  t.requests AS total_uses,
  t.domains AS unique_domains,
  t.successes AS successful_requests,
  round(100 * t.successes::numeric / t.requests, 2) AS success_rate_pct,
  t.cost AS total_cost,
  t.cost / t.requests AS avg_cost_per_request,
  1000 * t.cost / nullif(t.input + t.output, 0) AS cost_per_1k_tokens,
  t.duration::numeric / nullif(t.timed, 0) AS avg_duration_ms,
  @schema@.chat_telemetry_percentile(
    95, s.timed_requests, s.p95_bin, s.p95_before, s.p95_hits, s.p95_next) AS p95_duration_ms,
  (t.input + t.output)::numeric / t.requests AS avg_tokens_per_request,
  t.input::numeric / t.requests AS avg_input_tokens,
  t.output::numeric / t.requests AS avg_output_tokens,
  t.input + t.output AS total_tokens,
  t.searches::numeric / t.requests AS avg_searches_per_request,
  t.iterations::numeric / t.requests AS avg_iterations_per_request,
  t.first_at AS first_used_at,
  t.last_at AS last_used_at,
  coalesce(d.requests, 0) AS uses_last_24h,
  coalesce(w.requests, 0) AS uses_last_7d,
  now() AS materialized_at
FROM total AS t
LEFT JOIN @schema@.chat_telemetry_sketches AS s ON s.kind = 'model' AND s.name = t.model
LEFT JOIN @schema@.chat_telemetry_since('model', date_trunc('minute', now() - interval '24 hours', 'UTC')) AS d
  ON d.name = t.model
LEFT JOIN @schema@.chat_telemetry_since('model', date_trunc('minute', now() - interval '168 hours', 'UTC')) AS w
  ON w.name = t.model
WITH NO DATA;

CREATE UNIQUE INDEX idx_chat_telemetry_model_summary_model ON @schema@.chat_telemetry_model_summary (model);
CREATE INDEX idx_chat_telemetry_model_summary_cost ON @schema@.chat_telemetry_model_summary (total_cost DESC);
CREATE INDEX idx_chat_telemetry_model_summary_activity ON @schema@.chat_telemetry_model_summary (uses_last_24h DESC);
CREATE INDEX idx_chat_telemetry_model_summary_performance
  ON @schema@.chat_telemetry_model_summary (p95_duration_ms DESC);

-- Folds, then refreshes both views or the one that is named: in one transaction, so that every figure is of one moment.
-- A view that fails does not stop the other, and what failed is in the result and in the log. Needs no ownership: it
-- runs with its owner's rights.
CREATE FUNCTION @schema@.refresh_telemetry_summary_views(only_view text DEFAULT NULL, cause text DEFAULT 'manual')
RETURNS TABLE (view_name text, refresh_time_ms numeric, status text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET max_parallel_workers_per_gather = 0
-- REFRESH analyzes what it compares: 27 columns, for one join on the key.
SET default_statistics_target = 1 SET client_min_messages = 'warning'
AS $function$
DECLARE
  fold_failure text;
  began timestamptz;
  ended timestamptz;
  view_rows bigint;
  populated boolean;
  folded bigint;
  last_folded bigint;
BEGIN
  IF only_view IS NOT NULL AND only_view NOT IN ('chat_telemetry_domain_summary', 'chat_telemetry_model_summary') THEN
    RAISE EXCEPTION 'there is no summary view %', only_view
      USING HINT = 'It is chat_telemetry_domain_summary or chat_telemetry_model_summary.';
  END IF;
  BEGIN
    PERFORM @schema@.chat_telemetry_fold();
  EXCEPTION WHEN OTHERS THEN
    fold_failure := 'fold: ' || SQLERRM || ' (SQLSTATE ' || SQLSTATE || ')';
  END;
  SELECT folded_events INTO folded FROM @schema@.chat_telemetry_fold_state;
  FOR view_name, last_folded IN
    SELECT r.view_name, r.folded_events FROM @schema@.chat_telemetry_refresh_state AS r
    WHERE only_view IS NULL OR r.view_name = only_view ORDER BY r.view_name
  LOOP
    began := clock_timestamp();
    view_rows := NULL;
    status := coalesce(fold_failure, 'SUCCESS');
    IF fold_failure IS NULL THEN
      BEGIN
        SELECT c.relispopulated INTO populated FROM pg_class AS c
        WHERE c.oid = format('@schema@.%I', view_name)::regclass;
        EXECUTE format('REFRESH MATERIALIZED VIEW %s @schema@.%I',
          CASE WHEN populated THEN 'CONCURRENTLY' ELSE '' END, view_name);
        EXECUTE format('SELECT count(*) FROM @schema@.%I', view_name) INTO view_rows;
        UPDATE @schema@.chat_telemetry_refresh_state AS r
        SET refreshed_at = now(), finished_at = clock_timestamp(), folded_events = folded
        WHERE r.view_name = refresh_telemetry_summary_views.view_name;
      EXCEPTION WHEN OTHERS THEN
        status := SQLERRM || ' (SQLSTATE ' || SQLSTATE || ')';
      END;
    END IF;
    ended := clock_timestamp();
    refresh_time_ms := round(1000 * extract(epoch FROM ended - began), 3);
    INSERT INTO @schema@.chat_telemetry_refresh_log
      (view_name, trigger, started_at, finished_at, refresh_time_ms, status, rows, events)
    VALUES (view_name, cause, began, ended, refresh_time_ms, status, view_rows, folded - last_folded);
    RETURN NEXT;
  END LOOP;
END
$function$;

REVOKE ALL ON FUNCTION @schema@.chat_telemetry_bin_value(smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_percentile(integer, bigint, smallint, bigint, bigint, smallint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_since(text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.refresh_telemetry_summary_views(text, text) FROM PUBLIC;
