-- Folding: what the batches appended becomes day rollups, totals, sketches and windows.

-- Sums up the minutes of an hour's row once appending has made it long.
CREATE FUNCTION @schema@.chat_telemetry_compact_minutes(
  INOUT minutes smallint[], INOUT requests bigint[], INOUT cost_micros bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
  IF cardinality(minutes) > 120 THEN
    SELECT array_agg(s.minute), array_agg(s.requests), array_agg(s.cost) INTO minutes, requests, cost_micros
    FROM (
      SELECT u.minute, sum(u.requests)::bigint AS requests, sum(u.cost)::bigint AS cost
      FROM unnest(minutes, requests, cost_micros) AS u (minute, requests, cost) GROUP BY u.minute
    ) AS s;
  END IF;
END
$function$;

-- Sums up the bins of a day row's sketch once appending has made them many.
CREATE FUNCTION @schema@.chat_telemetry_compact_sketch(INOUT bins smallint[], INOUT counts bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
  IF cardinality(bins) > 800 THEN
    SELECT array_agg(s.bin), array_agg(s.n) INTO bins, counts
    FROM (SELECT u.bin, sum(u.n)::bigint AS n FROM unnest(bins, counts) AS u (bin, n) GROUP BY u.bin) AS s;
  END IF;
END
$function$;

-- Adds the sketches that folds have left to the day rows of the model rollups. Their bins are appended, and summed up
-- once they are many. Apart from the fold, for it takes longer than one, and nothing waits for it.
CREATE FUNCTION @schema@.chat_telemetry_settle_day_sketches() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET work_mem = '64MB'
AS $function$
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  WITH delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_day_sketch_deltas RETURNING *
  ), hit AS (
    SELECT day, domain, model, u.bin, sum(u.n)::bigint AS n
    FROM delta AS d, unnest(d.bins, d.bin_counts) AS u (bin, n) GROUP BY day, domain, model, u.bin
  ), sketch AS (
    SELECT day, domain, model, array_agg(bin) AS bins, array_agg(n) AS counts FROM hit GROUP BY day, domain, model
  )
  UPDATE @schema@.chat_telemetry_model_rollups_day AS r
  SET (duration_bins, duration_bin_counts) = (
    SELECT c.bins, c.counts FROM @schema@.chat_telemetry_compact_sketch(
      r.duration_bins || s.bins, r.duration_bin_counts || s.counts) AS c)
  FROM sketch AS s
  WHERE r.granularity = 'day' AND r.bucket_start = s.day::timestamptz
    -- No domain is blank, so the blank can stand for none; IS NOT DISTINCT FROM would compare each with each.
    AND coalesce(r.domain, '') = coalesce(s.domain, '') AND r.model = s.model;
  UPDATE @schema@.chat_telemetry_fold_state SET day_sketch_deltas = 0;
END
$function$;

-- Makes the function that folds: with the lists of the measures, which it needs at four tables, written once.
DO $migration$
DECLARE
  measures CONSTANT text[] := '{total_requests, success_count, failure_count, total_input_tokens, total_output_tokens,
    total_cost_usd, max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
    first_request_at, last_request_at}';
  additions text;
BEGIN
  SELECT string_agg(format(
    CASE WHEN name LIKE 'max\_%' OR name LIKE 'last\_%' THEN '%1$s = greatest(r.%1$s, excluded.%1$s)'
      WHEN name LIKE 'first\_%' THEN '%1$s = least(r.%1$s, excluded.%1$s)'
      ELSE '%1$s = r.%1$s + excluded.%1$s' END, name), ', ') || ', updated_at = now()'
  INTO additions FROM unnest(measures) AS name;

  EXECUTE replace(replace($text$
-- Moves everything pending into day rollups, totals, sketches and windows: one DELETE … RETURNING of one snapshot feeds
-- them all, so a batch is folded whole and once, whoever calls this and however often. One at a time, by a lock.
CREATE FUNCTION @schema@.chat_telemetry_fold(OUT folded_batches bigint, OUT folded_events bigint, OUT folded_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET work_mem = '64MB'
AS $function$
DECLARE
  new_day_sketches bigint;
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  WITH batch AS (
    DELETE FROM @schema@.chat_telemetry_pending_batches RETURNING events
  ), delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_summary_deltas RETURNING *,
      coalesce(domain, 'unknown') AS shown_domain, coalesce(nullif(model, ''), 'unknown') AS shown_model
  ), window_delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_window_deltas RETURNING *
  ),

  -- Day rollups and totals.
  summed AS MATERIALIZED (
    SELECT CASE WHEN GROUPING(model) = 0 THEN 'total' WHEN GROUPING(shown_model) = 0 THEN 'model'
        WHEN GROUPING(shown_domain) = 0 THEN 'domain' ELSE 'all' END AS grain,
      day, shown_domain, domain, shown_model, model,
      sum(total_requests) AS total_requests, sum(success_count) AS success_count,
      sum(total_requests - success_count) AS failure_count, sum(total_input_tokens) AS total_input_tokens,
      sum(total_output_tokens) AS total_output_tokens, sum(total_cost_micros) * 0.000001 AS total_cost_usd,
      max(max_cost_micros) * 0.000001 AS max_cost_usd, sum(total_duration_ms) AS total_duration_ms,
      sum(timed_requests) AS timed_requests, max(max_duration_ms) AS max_duration_ms,
      sum(total_searches) AS total_searches, sum(total_iterations) AS total_iterations,
      min(first_request_at) AS first_request_at, max(last_request_at) AS last_request_at
    FROM delta
    GROUP BY GROUPING SETS ((day), (day, shown_domain), (day, domain, shown_model), (domain, model))
  ), day_rows AS (
    INSERT INTO @schema@.chat_telemetry_rollups_day AS r (granularity, bucket_start, bucket_end, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, @measures@
    FROM summed WHERE grain = 'all' ORDER BY day
    ON CONFLICT (granularity, bucket_start) DO UPDATE SET @additions@
  ), domain_rows AS (
    INSERT INTO @schema@.chat_telemetry_domain_rollups_day AS r
      (granularity, bucket_start, bucket_end, domain, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, shown_domain, @measures@
    FROM summed WHERE grain = 'domain' ORDER BY day, shown_domain
    ON CONFLICT (granularity, bucket_start, domain) DO UPDATE SET @additions@
  ), model_rows AS (
    INSERT INTO @schema@.chat_telemetry_model_rollups_day AS r
      (granularity, bucket_start, bucket_end, domain, model, duration_bins, duration_bin_counts, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, domain, shown_model, '{}', '{}', @measures@
    FROM summed WHERE grain = 'model' ORDER BY day, domain, shown_model
    ON CONFLICT (granularity, bucket_start, domain, model) DO UPDATE SET @additions@
  ), total_rows AS (
    INSERT INTO @schema@.chat_telemetry_totals AS r (domain, model, @measures@)
    SELECT domain, model, @measures@
    FROM summed WHERE grain = 'total' ORDER BY domain, model
    ON CONFLICT (domain, model) DO UPDATE SET @additions@
  ),

  -- Sketches.
  hit AS MATERIALIZED (
    SELECT d.day, d.domain, d.model, d.shown_model, u.bin, u.n
    FROM delta AS d, unnest(d.bins, d.bin_counts) AS u (bin, n)
  ), day_sketch AS (
    INSERT INTO @schema@.chat_telemetry_day_sketch_deltas (day, domain, model, bins, bin_counts)
    SELECT day, domain, shown_model, array_agg(bin), array_agg(n) FROM hit GROUP BY day, domain, shown_model
    RETURNING 1
  ), new_hit AS MATERIALIZED (
    SELECT 'domain' AS kind, domain AS name, bin, sum(n)::integer AS n
    FROM hit WHERE domain IS NOT NULL GROUP BY domain, bin
    UNION ALL
    SELECT 'model', model, bin, sum(n)::integer FROM hit WHERE model <> '' GROUP BY model, bin
  ), grown AS MATERIALIZED (
    -- The places of the percentiles with the new hits; null for a new sketch.
    SELECT h.kind, h.name, coalesce(s.timed_requests, 0) + sum(h.n) AS timed,
      s.median_bin, s.median_before + coalesce(sum(h.n) FILTER (WHERE h.bin < s.median_bin), 0) AS median_before,
      s.median_hits + coalesce(sum(h.n) FILTER (WHERE h.bin = s.median_bin), 0) AS median_hits,
      least(s.median_next, min(h.bin) FILTER (WHERE h.bin > s.median_bin)) AS median_next,
      s.p95_bin, s.p95_before + coalesce(sum(h.n) FILTER (WHERE h.bin < s.p95_bin), 0) AS p95_before,
      s.p95_hits + coalesce(sum(h.n) FILTER (WHERE h.bin = s.p95_bin), 0) AS p95_hits,
      least(s.p95_next, min(h.bin) FILTER (WHERE h.bin > s.p95_bin)) AS p95_next,
      coalesce(s.recent_bins, '{}') || array_agg(h.bin) AS recent_bins,
      coalesce(s.recent_counts, '{}') || array_agg(h.n) AS recent_counts
    FROM new_hit AS h
    LEFT JOIN @schema@.chat_telemetry_sketches AS s ON s.kind = h.kind AND s.name = h.name
    GROUP BY h.kind, h.name, s.kind, s.name
  ), moved AS MATERIALIZED (
    SELECT g.kind, g.name, g.recent_bins, g.recent_counts, 50 * (timed - 1) / 100 AS median_rank,
      95 * (timed - 1) / 100 AS p95_rank
    FROM grown AS g
    -- Ranks count from 0. Whatever is null is not in place.
    WHERE cardinality(recent_bins) > 200
      OR NOT coalesce(50 * (timed - 1) / 100 >= median_before
        AND 50 * (timed - 1) / 100 < median_before + median_hits
        AND 95 * (timed - 1) / 100 >= p95_before AND 95 * (timed - 1) / 100 < p95_before + p95_hits, false)
  ), summed_up AS MATERIALIZED (
    SELECT m.kind, m.name, whole.*
    FROM moved AS m
    LEFT JOIN @schema@.chat_telemetry_sketches AS s ON s.kind = m.kind AND s.name = m.name
    CROSS JOIN LATERAL (
      SELECT array_agg(b.bin ORDER BY b.bin) AS bins, array_agg(b.n::bigint ORDER BY b.bin) AS bin_counts,
        min(b.bin) FILTER (WHERE upto > median_rank) AS median_bin,
        min(upto - n) FILTER (WHERE upto > median_rank) AS median_before,
        min(upto) FILTER (WHERE upto > median_rank) - min(upto - n) FILTER (WHERE upto > median_rank) AS median_hits,
        min(b.bin) FILTER (WHERE upto - n > median_rank) AS median_next,
        min(b.bin) FILTER (WHERE upto > p95_rank) AS p95_bin,
        min(upto - n) FILTER (WHERE upto > p95_rank) AS p95_before,
        min(upto) FILTER (WHERE upto > p95_rank) - min(upto - n) FILTER (WHERE upto > p95_rank) AS p95_hits,
        min(b.bin) FILTER (WHERE upto - n > p95_rank) AS p95_next
      FROM (
        -- As double precision, which is exact up to 2^53 and adds up far faster than bigint, whose sum is numeric.
        SELECT u.bin, sum(u.n) AS n, sum(sum(u.n)) OVER (ORDER BY u.bin) AS upto
        FROM unnest(s.bins || m.recent_bins, s.bin_counts::float8[] || m.recent_counts::float8[]) AS u (bin, n)
        GROUP BY u.bin
      ) AS b
    ) AS whole
  ), sketch_rows AS (
    INSERT INTO @schema@.chat_telemetry_sketches AS r (kind, name, timed_requests,
      median_bin, median_before, median_hits, median_next, p95_bin, p95_before, p95_hits, p95_next,
      recent_bins, recent_counts, bins, bin_counts)
    SELECT g.kind, g.name, g.timed,
      coalesce(w.median_bin, g.median_bin), coalesce(w.median_before, g.median_before),
      coalesce(w.median_hits, g.median_hits), CASE WHEN w.bins IS NULL THEN g.median_next ELSE w.median_next END,
      coalesce(w.p95_bin, g.p95_bin), coalesce(w.p95_before, g.p95_before),
      coalesce(w.p95_hits, g.p95_hits), CASE WHEN w.bins IS NULL THEN g.p95_next ELSE w.p95_next END,
      CASE WHEN w.bins IS NULL THEN g.recent_bins ELSE '{}' END,
      CASE WHEN w.bins IS NULL THEN g.recent_counts ELSE '{}' END,
      coalesce(w.bins, '{}'), coalesce(w.bin_counts, '{}')
    FROM grown AS g LEFT JOIN summed_up AS w USING (kind, name)
    ORDER BY g.kind, g.name
    ON CONFLICT (kind, name) DO UPDATE SET timed_requests = excluded.timed_requests,
      median_bin = excluded.median_bin, median_before = excluded.median_before, median_hits = excluded.median_hits,
      median_next = excluded.median_next, p95_bin = excluded.p95_bin, p95_before = excluded.p95_before,
      p95_hits = excluded.p95_hits, p95_next = excluded.p95_next,
      recent_bins = excluded.recent_bins, recent_counts = excluded.recent_counts,
      bins = CASE WHEN excluded.bins = '{}' THEN r.bins ELSE excluded.bins END,
      bin_counts = CASE WHEN excluded.bins = '{}' THEN r.bin_counts ELSE excluded.bin_counts END
  ),

  -- Windows.
  window_minute AS MATERIALIZED (
    SELECT CASE WHEN w.domain IS NULL THEN 'model' ELSE 'domain' END AS kind, coalesce(w.domain, w.model) AS name,
      w.day, u.minute / 60 AS hour_of_day, u.minute % 60 AS minute,
      sum(u.requests)::bigint AS requests, sum(u.cost)::bigint AS cost
    FROM window_delta AS w, unnest(w.minutes, w.requests, w.cost_micros) AS u (minute, requests, cost)
    GROUP BY 1, 2, 3, 4, 5
  ), window_sum AS MATERIALIZED (
    SELECT kind, name, CASE WHEN hour_of_day IS NULL THEN 'day' ELSE 'hour' END AS span,
      day::timestamptz + make_interval(hours => coalesce(hour_of_day, 0)) AS start,
      sum(requests) AS requests, sum(cost) AS cost,
      array_agg(minute) AS minutes, array_agg(requests) AS minute_requests, array_agg(cost) AS minute_costs
    FROM window_minute GROUP BY GROUPING SETS ((kind, name, day), (kind, name, day, hour_of_day))
  ), window_sum_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_sums AS r (kind, span, start, name, requests, cost_micros)
    SELECT kind, span, start, name, requests, cost FROM window_sum ORDER BY kind, span, start, name
    ON CONFLICT (kind, span, start, name) DO UPDATE SET
      requests = r.requests + excluded.requests, cost_micros = r.cost_micros + excluded.cost_micros
  ), window_minute_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_minutes AS r (kind, hour, name, minutes, requests, cost_micros)
    SELECT kind, start, name, minutes, minute_requests, minute_costs
    FROM window_sum WHERE span = 'hour' ORDER BY kind, start, name
    ON CONFLICT (kind, hour, name) DO UPDATE SET (minutes, requests, cost_micros) = (
      SELECT c.minutes, c.requests, c.cost_micros FROM @schema@.chat_telemetry_compact_minutes(
        r.minutes || excluded.minutes, r.requests || excluded.requests, r.cost_micros || excluded.cost_micros) AS c)
  )
  SELECT count(*), coalesce(sum(b.events), 0), (SELECT count(*) FROM delta), (SELECT count(*) FROM day_sketch)
  INTO folded_batches, folded_events, folded_rows, new_day_sketches
  FROM batch AS b;

  IF folded_batches > 0 THEN
    UPDATE @schema@.chat_telemetry_fold_state AS s
    SET folded_events = s.folded_events + chat_telemetry_fold.folded_events, folded_at = now(),
      day_sketch_deltas = s.day_sketch_deltas + new_day_sketches;
  END IF;
  -- What no window can reach any more.
  DELETE FROM @schema@.chat_telemetry_window_sums
  WHERE kind IN ('domain', 'model') AND span IN ('day', 'hour') AND start < now() - interval '8 days';
  DELETE FROM @schema@.chat_telemetry_window_minutes
  WHERE kind IN ('domain', 'model') AND hour < now() - interval '8 days';
  -- The coordinator settles far earlier, between refreshes; this is for whoever refreshes without one.
  IF (SELECT s.day_sketch_deltas FROM @schema@.chat_telemetry_fold_state AS s) > 1000000 THEN
    PERFORM @schema@.chat_telemetry_settle_day_sketches();
  END IF;
END
$function$
$text$, '@measures@', array_to_string(measures, ', ')), '@additions@', additions);
END
$migration$;

REVOKE ALL ON FUNCTION @schema@.chat_telemetry_compact_minutes(smallint[], bigint[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_compact_sketch(smallint[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_settle_day_sketches() FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_fold() FROM PUBLIC;
