-- What the coordinator keeps: totals, sketches and windows, the two summary views, the lease and the refresh log.

-- All-time totals. A null domain and a blank model ('') stay apart from the word 'unknown'.
CREATE TABLE @schema@.chat_telemetry_totals (
  domain text,
  model text NOT NULL,
  total_requests bigint NOT NULL,
  success_count bigint NOT NULL,
  total_input_tokens bigint NOT NULL,
  total_output_tokens bigint NOT NULL,
  total_cost_usd numeric NOT NULL,
  max_cost_usd numeric(12, 6),
  total_duration_ms numeric NOT NULL,
  timed_requests bigint NOT NULL,
  max_duration_ms bigint,
  total_searches bigint NOT NULL,
  total_iterations bigint NOT NULL,
  first_request_at timestamptz NOT NULL,
  last_request_at timestamptz NOT NULL,
  UNIQUE NULLS NOT DISTINCT (domain, model)
) WITH (fillfactor = 60);

-- All-time duration sketches, with the percentiles computed whenever they change: that is cheaper than at each refresh.
CREATE TABLE @schema@.chat_telemetry_domain_sketches (
  domain text PRIMARY KEY,
  bins smallint[] NOT NULL,
  bin_counts bigint[] NOT NULL,
  median_duration_ms double precision,
  p95_duration_ms double precision
) WITH (fillfactor = 60);

CREATE TABLE @schema@.chat_telemetry_model_sketches (
  model text PRIMARY KEY,
  bins smallint[] NOT NULL,
  bin_counts bigint[] NOT NULL,
  median_duration_ms double precision,
  p95_duration_ms double precision
) WITH (fillfactor = 60);

-- The trailing windows: whole hours, and apart from them each hour's minutes, of which a refresh reads only the two
-- hours in which a window begins. kind is 'domain' or 'model'.
CREATE TABLE @schema@.chat_telemetry_window_hours (
  hour timestamptz NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  requests bigint NOT NULL,
  cost_micros numeric NOT NULL,
  PRIMARY KEY (hour, kind, name)
) WITH (fillfactor = 60);

CREATE TABLE @schema@.chat_telemetry_window_minutes (
  hour timestamptz NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  -- 60 values each, one a minute.
  requests bigint[] NOT NULL,
  cost_micros bigint[] NOT NULL,
  PRIMARY KEY (hour, kind, name)
) WITH (fillfactor = 60);

-- One row: how many events were ever folded.
CREATE TABLE @schema@.chat_telemetry_fold_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  folded_events bigint NOT NULL DEFAULT 0,
  folded_at timestamptz
);
INSERT INTO @schema@.chat_telemetry_fold_state DEFAULT VALUES;

-- One row for each view: its last refresh that succeeded.
CREATE TABLE @schema@.chat_telemetry_refresh_state (
  view_name text PRIMARY KEY,
  refreshed_at timestamptz,
  -- fold_state.folded_events as of then: the difference is what was stored since.
  folded_events bigint NOT NULL DEFAULT 0
);
INSERT INTO @schema@.chat_telemetry_refresh_state (view_name)
VALUES ('chat_telemetry_domain_summary'), ('chat_telemetry_model_summary');

CREATE TABLE @schema@.chat_telemetry_refresh_log (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  view_name text NOT NULL,
  trigger text NOT NULL,
  started_at timestamptz NOT NULL,
  finished_at timestamptz NOT NULL,
  refresh_time_ms numeric NOT NULL,
  -- 'SUCCESS' or the error.
  status text NOT NULL,
  rows bigint,
  -- Events that were new to the view.
  events bigint NOT NULL
);
CREATE INDEX idx_chat_telemetry_refresh_log_view ON @schema@.chat_telemetry_refresh_log (view_name, started_at DESC);

-- Who coordinates. It needs no session, so it works through a pooler; times are the server's.
CREATE TABLE @schema@.chat_telemetry_lease (
  name text PRIMARY KEY,
  holder text NOT NULL,
  acquired_at timestamptz NOT NULL,
  renewed_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);

-- The duration that a bin of the sketch stands for, in ms. The worker bins with the same gamma, 1009/991 (0.9 %).
CREATE FUNCTION @schema@.chat_telemetry_bin_value(bin integer) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $function$
  SELECT CASE WHEN bin <= 0 THEN 0
    ELSE least(greatest(2 * power(1009 / 991.0::float8, bin - 1) / (1 + 1009 / 991.0::float8), 1), 2147483647) END
$function$;

-- A day row's sketch grows by appending; beyond a bound its bins are summed up.
CREATE FUNCTION @schema@.chat_telemetry_compact_sketch(
  bins smallint[], counts bigint[], OUT compact_bins smallint[], OUT compact_counts bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
  IF cardinality(bins) <= 400 THEN
    compact_bins := bins;
    compact_counts := counts;
    RETURN;
  END IF;
  SELECT array_agg(s.bin ORDER BY s.bin), array_agg(s.n ORDER BY s.bin) INTO compact_bins, compact_counts
  FROM (SELECT u.bin, sum(u.n)::bigint AS n FROM unnest(bins, counts) AS u (bin, n) GROUP BY u.bin) AS s;
END
$function$;

-- Moves everything pending into day rollups, totals, sketches and windows: one DELETE … RETURNING of one snapshot feeds
-- them all, so a batch is folded whole and once, whoever calls this and however often. One at a time, by a lock.
CREATE FUNCTION @schema@.chat_telemetry_fold(OUT folded_batches bigint, OUT folded_events bigint, OUT folded_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $function$
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  WITH batch AS (
    DELETE FROM @schema@.chat_telemetry_pending_batches RETURNING events
  ), delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_summary_deltas RETURNING *
  ), window_delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_window_deltas RETURNING *
  ), fine AS MATERIALIZED (
    SELECT day, domain, model, sum(total_requests)::bigint AS total_requests, sum(success_count)::bigint AS success_count,
      sum(total_input_tokens)::bigint AS total_input_tokens, sum(total_output_tokens)::bigint AS total_output_tokens,
      sum(total_cost_micros) * 0.000001 AS total_cost_usd, max(max_cost_micros) * 0.000001 AS max_cost_usd,
      sum(total_duration_ms)::bigint AS total_duration_ms, sum(timed_requests)::bigint AS timed_requests,
      max(max_duration_ms) AS max_duration_ms, sum(total_searches)::bigint AS total_searches,
      sum(total_iterations)::bigint AS total_iterations, min(first_request_at) AS first_request_at,
      max(last_request_at) AS last_request_at
    FROM delta GROUP BY day, domain, model
  ), fine_bin AS MATERIALIZED (
    SELECT d.day, d.domain, d.model, u.bin, sum(u.n)::bigint AS n
    FROM delta AS d, unnest(d.bins, d.bin_counts) AS u (bin, n) GROUP BY d.day, d.domain, d.model, u.bin
  ), day_rows AS (
    INSERT INTO @schema@.chat_telemetry_rollups_day AS r (granularity, bucket_start, bucket_end,
      total_requests, success_count, failure_count, total_input_tokens, total_output_tokens, total_cost_usd,
      max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
      first_request_at, last_request_at)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz,
      sum(total_requests), sum(success_count), sum(total_requests - success_count), sum(total_input_tokens),
      sum(total_output_tokens), sum(total_cost_usd), max(max_cost_usd), sum(total_duration_ms), sum(timed_requests),
      max(max_duration_ms), sum(total_searches), sum(total_iterations), min(first_request_at), max(last_request_at)
    FROM fine GROUP BY day ORDER BY day
    ON CONFLICT (granularity, bucket_start) DO UPDATE SET
      total_requests = r.total_requests + excluded.total_requests,
      success_count = r.success_count + excluded.success_count,
      failure_count = r.failure_count + excluded.failure_count,
      total_input_tokens = r.total_input_tokens + excluded.total_input_tokens,
      total_output_tokens = r.total_output_tokens + excluded.total_output_tokens,
      total_cost_usd = r.total_cost_usd + excluded.total_cost_usd,
      max_cost_usd = greatest(r.max_cost_usd, excluded.max_cost_usd),
      total_duration_ms = r.total_duration_ms + excluded.total_duration_ms,
      timed_requests = r.timed_requests + excluded.timed_requests,
      max_duration_ms = greatest(r.max_duration_ms, excluded.max_duration_ms),
      total_searches = r.total_searches + excluded.total_searches,
      total_iterations = r.total_iterations + excluded.total_iterations,
      first_request_at = least(r.first_request_at, excluded.first_request_at),
      last_request_at = greatest(r.last_request_at, excluded.last_request_at),
      updated_at = now()
  ), day_domain_rows AS (
    INSERT INTO @schema@.chat_telemetry_domain_rollups_day AS r (granularity, bucket_start, bucket_end, domain,
      total_requests, success_count, failure_count, total_input_tokens, total_output_tokens, total_cost_usd,
      max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
      first_request_at, last_request_at)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, coalesce(domain, 'unknown') AS name,
      sum(total_requests), sum(success_count), sum(total_requests - success_count), sum(total_input_tokens),
      sum(total_output_tokens), sum(total_cost_usd), max(max_cost_usd), sum(total_duration_ms), sum(timed_requests),
      max(max_duration_ms), sum(total_searches), sum(total_iterations), min(first_request_at), max(last_request_at)
    FROM fine GROUP BY day, name ORDER BY day, name
    ON CONFLICT (granularity, bucket_start, domain) DO UPDATE SET
      total_requests = r.total_requests + excluded.total_requests,
      success_count = r.success_count + excluded.success_count,
      failure_count = r.failure_count + excluded.failure_count,
      total_input_tokens = r.total_input_tokens + excluded.total_input_tokens,
      total_output_tokens = r.total_output_tokens + excluded.total_output_tokens,
      total_cost_usd = r.total_cost_usd + excluded.total_cost_usd,
      max_cost_usd = greatest(r.max_cost_usd, excluded.max_cost_usd),
      total_duration_ms = r.total_duration_ms + excluded.total_duration_ms,
      timed_requests = r.timed_requests + excluded.timed_requests,
      max_duration_ms = greatest(r.max_duration_ms, excluded.max_duration_ms),
      total_searches = r.total_searches + excluded.total_searches,
      total_iterations = r.total_iterations + excluded.total_iterations,
      first_request_at = least(r.first_request_at, excluded.first_request_at),
      last_request_at = greatest(r.last_request_at, excluded.last_request_at),
      updated_at = now()
  ), day_model_bin AS (
    SELECT day, domain, coalesce(nullif(model, ''), 'unknown') AS model, array_agg(bin) AS bins, array_agg(n) AS counts
    FROM fine_bin GROUP BY day, domain, coalesce(nullif(model, ''), 'unknown')
  ), day_model AS (
    SELECT day, domain, coalesce(nullif(model, ''), 'unknown') AS name,
      sum(total_requests) AS total_requests, sum(success_count) AS success_count,
      sum(total_requests - success_count) AS failure_count, sum(total_input_tokens) AS total_input_tokens,
      sum(total_output_tokens) AS total_output_tokens, sum(total_cost_usd) AS total_cost_usd,
      max(max_cost_usd) AS max_cost_usd, sum(total_duration_ms) AS total_duration_ms,
      sum(timed_requests) AS timed_requests, max(max_duration_ms) AS max_duration_ms,
      sum(total_searches) AS total_searches, sum(total_iterations) AS total_iterations,
      min(first_request_at) AS first_request_at, max(last_request_at) AS last_request_at
    FROM fine GROUP BY day, domain, name
  ), day_model_rows AS (
    INSERT INTO @schema@.chat_telemetry_model_rollups_day AS r (granularity, bucket_start, bucket_end, domain, model,
      total_requests, success_count, failure_count, total_input_tokens, total_output_tokens, total_cost_usd,
      max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
      first_request_at, last_request_at, duration_bins, duration_bin_counts)
    SELECT 'day', m.day::timestamptz, (m.day + 1)::timestamptz, m.domain, m.name,
      total_requests, success_count, failure_count, total_input_tokens, total_output_tokens, total_cost_usd,
      max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
      first_request_at, last_request_at, coalesce(b.bins, '{}'), coalesce(b.counts, '{}')
    FROM day_model AS m LEFT JOIN day_model_bin AS b
      -- No domain is blank, so the blank can stand for none; IS NOT DISTINCT FROM would compare each with each.
      ON b.day = m.day AND coalesce(b.domain, '') = coalesce(m.domain, '') AND b.model = m.name
    ORDER BY m.day, m.domain, m.name
    ON CONFLICT (granularity, bucket_start, domain, model) DO UPDATE SET
      total_requests = r.total_requests + excluded.total_requests,
      success_count = r.success_count + excluded.success_count,
      failure_count = r.failure_count + excluded.failure_count,
      total_input_tokens = r.total_input_tokens + excluded.total_input_tokens,
      total_output_tokens = r.total_output_tokens + excluded.total_output_tokens,
      total_cost_usd = r.total_cost_usd + excluded.total_cost_usd,
      max_cost_usd = greatest(r.max_cost_usd, excluded.max_cost_usd),
      total_duration_ms = r.total_duration_ms + excluded.total_duration_ms,
      timed_requests = r.timed_requests + excluded.timed_requests,
      max_duration_ms = greatest(r.max_duration_ms, excluded.max_duration_ms),
      total_searches = r.total_searches + excluded.total_searches,
      total_iterations = r.total_iterations + excluded.total_iterations,
      first_request_at = least(r.first_request_at, excluded.first_request_at),
      last_request_at = greatest(r.last_request_at, excluded.last_request_at),
      (duration_bins, duration_bin_counts) = (
        SELECT compact_bins, compact_counts FROM @schema@.chat_telemetry_compact_sketch(
          r.duration_bins || excluded.duration_bins, r.duration_bin_counts || excluded.duration_bin_counts)),
      updated_at = now()
  ), total_rows AS (
    INSERT INTO @schema@.chat_telemetry_totals AS t (domain, model,
      total_requests, success_count, total_input_tokens, total_output_tokens, total_cost_usd, max_cost_usd,
      total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations, first_request_at,
      last_request_at)
    SELECT domain, model,
      sum(total_requests), sum(success_count), sum(total_input_tokens), sum(total_output_tokens), sum(total_cost_usd),
      max(max_cost_usd), sum(total_duration_ms), sum(timed_requests), max(max_duration_ms), sum(total_searches),
      sum(total_iterations), min(first_request_at), max(last_request_at)
    FROM fine GROUP BY domain, model ORDER BY domain, model
    ON CONFLICT (domain, model) DO UPDATE SET
      total_requests = t.total_requests + excluded.total_requests,
      success_count = t.success_count + excluded.success_count,
      total_input_tokens = t.total_input_tokens + excluded.total_input_tokens,
      total_output_tokens = t.total_output_tokens + excluded.total_output_tokens,
      total_cost_usd = t.total_cost_usd + excluded.total_cost_usd,
      max_cost_usd = greatest(t.max_cost_usd, excluded.max_cost_usd),
      total_duration_ms = t.total_duration_ms + excluded.total_duration_ms,
      timed_requests = t.timed_requests + excluded.timed_requests,
      max_duration_ms = greatest(t.max_duration_ms, excluded.max_duration_ms),
      total_searches = t.total_searches + excluded.total_searches,
      total_iterations = t.total_iterations + excluded.total_iterations,
      first_request_at = least(t.first_request_at, excluded.first_request_at),
      last_request_at = greatest(t.last_request_at, excluded.last_request_at)
  ), sketch_bin AS (
    -- New bins by name, and the stored ones of the names that changed.
    SELECT 'domain' AS kind, domain AS name, bin, n FROM fine_bin WHERE domain IS NOT NULL
    UNION ALL
    SELECT 'model', model, bin, n FROM fine_bin WHERE model <> ''
    UNION ALL
    SELECT 'domain', s.domain, u.bin, u.n
    FROM @schema@.chat_telemetry_domain_sketches AS s, unnest(s.bins, s.bin_counts) AS u (bin, n)
    WHERE s.domain IN (SELECT domain FROM fine_bin)
    UNION ALL
    SELECT 'model', s.model, u.bin, u.n
    FROM @schema@.chat_telemetry_model_sketches AS s, unnest(s.bins, s.bin_counts) AS u (bin, n)
    WHERE s.model IN (SELECT model FROM fine_bin)
  ), merged_bin AS (
    SELECT kind, name, bin, sum(n)::bigint AS n FROM sketch_bin GROUP BY kind, name, bin
  ), ranked_bin AS (
    SELECT kind, name, bin, n, sum(n) OVER (PARTITION BY kind, name ORDER BY bin) AS upto,
      sum(n) OVER (PARTITION BY kind, name) AS total
    FROM merged_bin
  ), sketch AS MATERIALIZED (
    -- percentile_cont interpolates between the order statistics around rank p * (total - 1), counted from 0; the
    -- statistic of rank k lies in the first bin with upto > k.
    SELECT kind, name, array_agg(bin ORDER BY bin) AS bins, array_agg(n ORDER BY bin) AS counts, max(total) AS total,
      min(bin) FILTER (WHERE upto > floor(0.5 * (total - 1))) AS median_low,
      min(bin) FILTER (WHERE upto > ceil(0.5 * (total - 1))) AS median_high,
      min(bin) FILTER (WHERE upto > floor(0.95 * (total - 1))) AS p95_low,
      min(bin) FILTER (WHERE upto > ceil(0.95 * (total - 1))) AS p95_high
    FROM ranked_bin GROUP BY kind, name
  ), percentile AS MATERIALIZED (
    SELECT kind, name, bins, counts,
      @schema@.chat_telemetry_bin_value(median_low) + (0.5 * (total - 1) - floor(0.5 * (total - 1)))
        * (@schema@.chat_telemetry_bin_value(median_high) - @schema@.chat_telemetry_bin_value(median_low)) AS median,
      @schema@.chat_telemetry_bin_value(p95_low) + (0.95 * (total - 1) - floor(0.95 * (total - 1)))
        * (@schema@.chat_telemetry_bin_value(p95_high) - @schema@.chat_telemetry_bin_value(p95_low)) AS p95
    FROM sketch
  ), domain_sketch_rows AS (
    INSERT INTO @schema@.chat_telemetry_domain_sketches AS s
      (domain, bins, bin_counts, median_duration_ms, p95_duration_ms)
    SELECT name, bins, counts, median, p95 FROM percentile WHERE kind = 'domain' ORDER BY name
    ON CONFLICT (domain) DO UPDATE SET bins = excluded.bins, bin_counts = excluded.bin_counts,
      median_duration_ms = excluded.median_duration_ms, p95_duration_ms = excluded.p95_duration_ms
  ), model_sketch_rows AS (
    INSERT INTO @schema@.chat_telemetry_model_sketches AS s
      (model, bins, bin_counts, median_duration_ms, p95_duration_ms)
    SELECT name, bins, counts, median, p95 FROM percentile WHERE kind = 'model' ORDER BY name
    ON CONFLICT (model) DO UPDATE SET bins = excluded.bins, bin_counts = excluded.bin_counts,
      median_duration_ms = excluded.median_duration_ms, p95_duration_ms = excluded.p95_duration_ms
  ), window_minute AS MATERIALIZED (
    SELECT w.day::timestamptz + make_interval(hours => u.minute / 60) AS hour,
      CASE WHEN w.domain IS NULL THEN 'model' ELSE 'domain' END AS kind, coalesce(w.domain, w.model) AS name,
      u.minute % 60 AS minute, sum(u.requests)::bigint AS requests, sum(u.cost)::bigint AS cost
    FROM window_delta AS w, unnest(w.minutes, w.requests, w.cost_micros) AS u (minute, requests, cost)
    GROUP BY 1, 2, 3, 4
  ), window_hour AS MATERIALIZED (
    SELECT hour, kind, name, sum(requests)::bigint AS requests, sum(cost) AS cost,
      array_agg(minute) AS minutes, array_agg(requests) AS minute_requests, array_agg(cost) AS minute_costs
    FROM window_minute GROUP BY hour, kind, name
  ), window_hour_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_hours AS h (hour, kind, name, requests, cost_micros)
    SELECT hour, kind, name, requests, cost FROM window_hour ORDER BY hour, kind, name
    ON CONFLICT (hour, kind, name) DO UPDATE SET requests = h.requests + excluded.requests,
      cost_micros = h.cost_micros + excluded.cost_micros
  ), window_minute_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_minutes AS m (hour, kind, name, requests, cost_micros)
    SELECT w.hour, w.kind, w.name, dense.requests, dense.costs
    FROM window_hour AS w, LATERAL (
      SELECT array_agg(coalesce(u.requests, 0) ORDER BY g.minute) AS requests,
        array_agg(coalesce(u.cost, 0) ORDER BY g.minute) AS costs
      FROM generate_series(0, 59) AS g (minute)
      LEFT JOIN unnest(w.minutes, w.minute_requests, w.minute_costs) AS u (minute, requests, cost)
        ON u.minute = g.minute) AS dense
    ORDER BY w.hour, w.kind, w.name
    ON CONFLICT (hour, kind, name) DO UPDATE SET
      requests = ARRAY(
        SELECT a + b FROM unnest(m.requests, excluded.requests) WITH ORDINALITY AS u (a, b, place) ORDER BY place),
      cost_micros = ARRAY(
        SELECT a + b FROM unnest(m.cost_micros, excluded.cost_micros) WITH ORDINALITY AS u (a, b, place) ORDER BY place)
  )
  SELECT count(*), coalesce(sum(b.events), 0), (SELECT count(*) FROM delta) INTO folded_batches, folded_events, folded_rows
  FROM batch AS b;

  IF folded_batches > 0 THEN
    UPDATE @schema@.chat_telemetry_fold_state AS s
    SET folded_events = s.folded_events + chat_telemetry_fold.folded_events, folded_at = now();
  END IF;
  -- What no window can reach any more.
  DELETE FROM @schema@.chat_telemetry_window_hours WHERE hour < now() - interval '8 days';
  DELETE FROM @schema@.chat_telemetry_window_minutes WHERE hour < now() - interval '8 days';
END
$function$;

CREATE MATERIALIZED VIEW @schema@.chat_telemetry_domain_summary AS
WITH edge AS (
  -- A window begins at the start of the minute that long ago.
  SELECT date_trunc('minute', now() - interval '24 hours', 'UTC') AS day_start,
    date_trunc('minute', now() - interval '168 hours', 'UTC') AS week_start
), total AS (
  SELECT domain, sum(total_requests)::bigint AS requests, sum(success_count)::bigint AS successes,
    sum(total_cost_usd) AS cost, max(max_cost_usd) AS dearest, sum(total_input_tokens)::bigint AS input,
    sum(total_output_tokens)::bigint AS output, sum(total_duration_ms) AS duration, sum(timed_requests) AS timed,
    max(max_duration_ms) AS longest, sum(total_searches)::bigint AS searches, sum(total_iterations) AS iterations,
    min(first_request_at) AS first_at, max(last_request_at) AS last_at
  FROM @schema@.chat_telemetry_totals WHERE domain IS NOT NULL GROUP BY domain
), model_use AS (
  SELECT domain, coalesce(nullif(model, ''), 'unknown') AS model, sum(total_requests) AS requests
  FROM @schema@.chat_telemetry_totals WHERE domain IS NOT NULL GROUP BY 1, 2
), favourite AS (
  SELECT domain, (array_agg(model ORDER BY requests DESC, model COLLATE "C"))[1] AS model, count(*) AS models
  FROM model_use GROUP BY domain
), whole_hours AS (
  SELECT h.name, sum(h.requests) AS week_requests, sum(h.cost_micros) AS week_cost,
    sum(h.requests) FILTER (WHERE h.hour > e.day_start) AS day_requests,
    sum(h.cost_micros) FILTER (WHERE h.hour > e.day_start) AS day_cost
  FROM @schema@.chat_telemetry_window_hours AS h, edge AS e
  WHERE h.kind = 'domain' AND h.hour > e.week_start GROUP BY h.name
), part_hours AS (
  -- The rest of the two hours in which the windows begin.
  SELECT m.name,
    sum(u.requests) FILTER (WHERE m.hour = date_trunc('hour', e.day_start, 'UTC')) AS day_requests,
    sum(u.cost) FILTER (WHERE m.hour = date_trunc('hour', e.day_start, 'UTC')) AS day_cost,
    sum(u.requests) FILTER (WHERE m.hour = date_trunc('hour', e.week_start, 'UTC')) AS week_requests,
    sum(u.cost) FILTER (WHERE m.hour = date_trunc('hour', e.week_start, 'UTC')) AS week_cost
  FROM edge AS e
  JOIN @schema@.chat_telemetry_window_minutes AS m ON m.kind = 'domain'
    AND (m.hour = date_trunc('hour', e.day_start, 'UTC') OR m.hour = date_trunc('hour', e.week_start, 'UTC'))
  CROSS JOIN LATERAL unnest(m.requests, m.cost_micros) WITH ORDINALITY AS u (requests, cost, place)
  WHERE m.hour + make_interval(mins => u.place::integer - 1)
      >= CASE WHEN m.hour = date_trunc('hour', e.day_start, 'UTC') THEN e.day_start ELSE e.week_start END
  GROUP BY m.name
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
  t.duration / nullif(t.timed, 0) AS avg_duration_ms,
  s.median_duration_ms,
  s.p95_duration_ms,
  t.longest AS max_duration_ms,
  t.searches::numeric / t.requests AS avg_searches_per_request,
  t.searches AS total_searches,
  t.iterations / t.requests AS avg_iterations_per_request,
  f.model AS most_used_model,
  f.models AS unique_models_used,
  t.first_at AS first_request_at,
  t.last_at AS last_request_at,
  (coalesce(w.day_requests, 0) + coalesce(p.day_requests, 0))::bigint AS requests_last_24h,
  (coalesce(w.day_cost, 0) + coalesce(p.day_cost, 0)) * 0.000001 AS cost_last_24h,
  (coalesce(w.week_requests, 0) + coalesce(p.week_requests, 0))::bigint AS requests_last_7d,
  (coalesce(w.week_cost, 0) + coalesce(p.week_cost, 0)) * 0.000001 AS cost_last_7d,
  now() AS materialized_at
FROM total AS t
JOIN favourite AS f USING (domain)
LEFT JOIN @schema@.chat_telemetry_domain_sketches AS s USING (domain)
LEFT JOIN whole_hours AS w ON w.name = t.domain
LEFT JOIN part_hours AS p ON p.name = t.domain
WITH NO DATA;

CREATE UNIQUE INDEX idx_chat_telemetry_domain_summary_domain ON @schema@.chat_telemetry_domain_summary (domain);
CREATE INDEX idx_chat_telemetry_domain_summary_cost
  ON @schema@.chat_telemetry_domain_summary (total_cost_usd_all_time DESC);
CREATE INDEX idx_chat_telemetry_domain_summary_activity
  ON @schema@.chat_telemetry_domain_summary (requests_last_24h DESC);
CREATE INDEX idx_chat_telemetry_domain_summary_performance
  ON @schema@.chat_telemetry_domain_summary (p95_duration_ms DESC);

CREATE MATERIALIZED VIEW @schema@.chat_telemetry_model_summary AS
WITH edge AS (
  SELECT date_trunc('minute', now() - interval '24 hours', 'UTC') AS day_start,
    date_trunc('minute', now() - interval '168 hours', 'UTC') AS week_start
), total AS (
  SELECT model, sum(total_requests)::bigint AS requests, count(DISTINCT domain) AS domains,
    sum(success_count)::bigint AS successes, sum(total_cost_usd) AS cost, sum(total_input_tokens)::bigint AS input,
    sum(total_output_tokens)::bigint AS output, sum(total_duration_ms) AS duration, sum(timed_requests) AS timed,
    sum(total_searches) AS searches, sum(total_iterations) AS iterations,
    min(first_request_at) AS first_at, max(last_request_at) AS last_at
  FROM @schema@.chat_telemetry_totals WHERE model <> '' GROUP BY model
), whole_hours AS (
  SELECT h.name, sum(h.requests) AS week_requests, sum(h.requests) FILTER (WHERE h.hour > e.day_start) AS day_requests
  FROM @schema@.chat_telemetry_window_hours AS h, edge AS e
  WHERE h.kind = 'model' AND h.hour > e.week_start GROUP BY h.name
), part_hours AS (
  SELECT m.name,
    sum(u.requests) FILTER (WHERE m.hour = date_trunc('hour', e.day_start, 'UTC')) AS day_requests,
    sum(u.requests) FILTER (WHERE m.hour = date_trunc('hour', e.week_start, 'UTC')) AS week_requests
  FROM edge AS e
  JOIN @schema@.chat_telemetry_window_minutes AS m ON m.kind = 'model'
    AND (m.hour = date_trunc('hour', e.day_start, 'UTC') OR m.hour = date_trunc('hour', e.week_start, 'UTC'))
  CROSS JOIN LATERAL unnest(m.requests) WITH ORDINALITY AS u (requests, place)
  WHERE m.hour + make_interval(mins => u.place::integer - 1)
      >= CASE WHEN m.hour = date_trunc('hour', e.day_start, 'UTC') THEN e.day_start ELSE e.week_start END
  GROUP BY m.name
)
SELECT t.model,
  t.requests AS total_uses,
  t.domains AS unique_domains,
  t.successes AS successful_requests,
  round(100 * t.successes::numeric / t.requests, 2) AS success_rate_pct,
  t.cost AS total_cost,
  t.cost / t.requests AS avg_cost_per_request,
  1000 * t.cost / nullif(t.input + t.output, 0) AS cost_per_1k_tokens,
  t.duration / nullif(t.timed, 0) AS avg_duration_ms,
  s.p95_duration_ms,
  (t.input + t.output)::numeric / t.requests AS avg_tokens_per_request,
  t.input::numeric / t.requests AS avg_input_tokens,
  t.output::numeric / t.requests AS avg_output_tokens,
  t.input + t.output AS total_tokens,
  t.searches / t.requests AS avg_searches_per_request,
  t.iterations / t.requests AS avg_iterations_per_request,
  t.first_at AS first_used_at,
  t.last_at AS last_used_at,
  (coalesce(w.day_requests, 0) + coalesce(p.day_requests, 0))::bigint AS uses_last_24h,
  (coalesce(w.week_requests, 0) + coalesce(p.week_requests, 0))::bigint AS uses_last_7d,
  now() AS materialized_at
FROM total AS t
LEFT JOIN @schema@.chat_telemetry_model_sketches AS s USING (model)
LEFT JOIN whole_hours AS w ON w.name = t.model
LEFT JOIN part_hours AS p ON p.name = t.model
WITH NO DATA;

CREATE UNIQUE INDEX idx_chat_telemetry_model_summary_model ON @schema@.chat_telemetry_model_summary (model);
CREATE INDEX idx_chat_telemetry_model_summary_cost ON @schema@.chat_telemetry_model_summary (total_cost DESC);
CREATE INDEX idx_chat_telemetry_model_summary_activity ON @schema@.chat_telemetry_model_summary (uses_last_24h DESC);
CREATE INDEX idx_chat_telemetry_model_summary_performance
  ON @schema@.chat_telemetry_model_summary (p95_duration_ms DESC);

-- Folds, then refreshes both views or the one that is named: in one transaction, so that every figure is of one moment.
-- A view that fails does not stop the other. Needs no ownership: it runs with its owner's rights.
CREATE FUNCTION @schema@.refresh_telemetry_summary_views(only_view text DEFAULT NULL, cause text DEFAULT 'manual')
RETURNS TABLE (view_name text, refresh_time_ms numeric, status text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET client_min_messages = 'warning'
AS $function$
DECLARE
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
  PERFORM @schema@.chat_telemetry_fold();
  SELECT folded_events INTO folded FROM @schema@.chat_telemetry_fold_state;
  FOR view_name, last_folded IN
    SELECT r.view_name, r.folded_events FROM @schema@.chat_telemetry_refresh_state AS r
    WHERE only_view IS NULL OR r.view_name = only_view ORDER BY r.view_name
  LOOP
    began := clock_timestamp();
    view_rows := NULL;
    BEGIN
      SELECT c.relispopulated INTO populated FROM pg_class AS c
      WHERE c.oid = format('@schema@.%I', view_name)::regclass;
      EXECUTE format('REFRESH MATERIALIZED VIEW %s @schema@.%I',
        CASE WHEN populated THEN 'CONCURRENTLY' ELSE '' END, view_name);
      EXECUTE format('SELECT count(*) FROM @schema@.%I', view_name) INTO view_rows;
      status := 'SUCCESS';
      UPDATE @schema@.chat_telemetry_refresh_state AS r SET refreshed_at = now(), folded_events = folded
      WHERE r.view_name = refresh_telemetry_summary_views.view_name;
    EXCEPTION WHEN OTHERS THEN
      status := SQLERRM || ' (SQLSTATE ' || SQLSTATE || ')';
    END;
    ended := clock_timestamp();
    refresh_time_ms := round(1000 * extract(epoch FROM ended - began), 3);
    INSERT INTO @schema@.chat_telemetry_refresh_log
      (view_name, trigger, started_at, finished_at, refresh_time_ms, status, rows, events)
    VALUES (view_name, cause, began, ended, refresh_time_ms, status, view_rows, folded - last_folded);
    RETURN NEXT;
  END LOOP;
END
$function$;

REVOKE ALL ON FUNCTION @schema@.chat_telemetry_bin_value(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_compact_sketch(smallint[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_fold() FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.refresh_telemetry_summary_views(text, text) FROM PUBLIC;
