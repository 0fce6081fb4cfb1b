-- Folding: what the batches appended becomes day rollups, totals, sketches and windows.

-- sum(bigint) makes a numeric of each sum, which costs more than the adding. This stays bigint, and fails beyond.
CREATE AGGREGATE @schema@.chat_telemetry_sum(bigint) (
  SFUNC = int8pl, STYPE = bigint, INITCOND = '0', COMBINEFUNC = int8pl, PARALLEL = SAFE);

-- Puts arrays behind each other. Each row copies what came before it, so it is for groups of some hundred rows.
CREATE AGGREGATE @schema@.chat_telemetry_concat(anycompatiblearray) (
  SFUNC = array_cat, STYPE = anycompatiblearray, PARALLEL = SAFE);

-- Sums up the bins of a day row's sketch once appending has made them many.
CREATE FUNCTION @schema@.chat_telemetry_compact_sketch(INOUT bins smallint[], INOUT counts bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
  IF cardinality(bins) > 800 THEN
    SELECT array_agg(s.bin), array_agg(s.n) INTO bins, counts
    FROM (
      SELECT u.bin, @schema@.chat_telemetry_sum(u.n) AS n FROM unnest(bins, counts) AS u (bin, n) GROUP BY u.bin
    ) AS s;
  END IF;
END
$function$;

-- Adds hits to the counts of a sketch, whose subscripts are bins; null for a new sketch. Changing one array in place
-- costs a fraction of unnesting it, adding and aggregating it anew.
CREATE FUNCTION @schema@.chat_telemetry_add_hits(INOUT bin_counts bigint[], bins smallint[], counts integer[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
DECLARE
  hits bigint[];
  lowest integer;
  highest integer;
BEGIN
  SELECT array_agg(h.bin), array_agg(h.n), min(h.bin), max(h.bin) INTO bins, hits, lowest, highest
  FROM (
    SELECT u.bin, @schema@.chat_telemetry_sum(u.n) AS n
    FROM (SELECT unnest(bins) AS bin, unnest(counts) AS n) AS u GROUP BY u.bin
  ) AS h;
  IF bin_counts IS NULL THEN
    bin_counts := array_fill(0::bigint, ARRAY[highest - lowest + 1], ARRAY[lowest]);
  END IF;
  IF lowest < array_lower(bin_counts, 1) THEN
    bin_counts := array_fill(0::bigint, ARRAY[array_lower(bin_counts, 1) - lowest], ARRAY[lowest]) || bin_counts;
  END IF;
  IF highest > array_upper(bin_counts, 1) THEN
    bin_counts := bin_counts || array_fill(0::bigint, ARRAY[highest - array_upper(bin_counts, 1)]);
  END IF;
  FOR place IN 1..cardinality(bins) LOOP
    bin_counts[bins[place]] := bin_counts[bins[place]] + hits[place];
  END LOOP;
END
$function$;

-- The place of a rank, found from a bin near it, or null for none: bin by bin, down or up. before and hits are as they
-- are in bin_counts, or null. The rank must be below the number of hits.
CREATE FUNCTION @schema@.chat_telemetry_find_rank(
  rank bigint, INOUT bin integer, INOUT before bigint, INOUT hits bigint, INOUT next_bin integer, bin_counts bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $function$
BEGIN
  IF rank >= before AND rank < before + hits THEN
    RETURN;
  END IF;
  IF before IS NULL THEN
    bin := coalesce(bin, array_lower(bin_counts, 1));
    SELECT coalesce(@schema@.chat_telemetry_sum(u.n), 0) INTO before FROM unnest(bin_counts[:bin - 1]) AS u (n);
    hits := bin_counts[bin];
  END IF;
  -- Beyond either end is null, which ends every loop.
  WHILE rank < before LOOP
    bin := bin - 1;
    hits := bin_counts[bin];
    before := before - hits;
  END LOOP;
  WHILE rank >= before + hits LOOP
    before := before + hits;
    bin := bin + 1;
    hits := bin_counts[bin];
  END LOOP;
  next_bin := bin + 1;
  WHILE bin_counts[next_bin] = 0 LOOP
    next_bin := next_bin + 1;
  END LOOP;
  IF next_bin > array_upper(bin_counts, 1) THEN
    next_bin := NULL;
  END IF;
END
$function$;

-- Moves the day rows of months that have ended from the open leaf to a leaf of their own, which has indexes on measures.
-- Events of such a month still count, only not as cheaply. Readers wait for the last step, a look at the open leaf.
CREATE FUNCTION @schema@.chat_telemetry_close_months(upto timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET client_min_messages = 'warning' SET lock_timeout = '1s'
AS $function$
DECLARE
  rollup text;
  open_leaf text;
  leaf text;
  month timestamptz;
  columns text;
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  FOREACH rollup IN ARRAY '{domain, model}'::text[] LOOP
    open_leaf := format('@schema@.chat_telemetry_%s_rollups_day_open', rollup);
    LOOP
      EXECUTE format('SELECT date_trunc(''month'', min(bucket_start)) FROM %s', open_leaf) INTO month;
      EXIT WHEN month IS NULL OR month + interval '1 month' > upto;
      leaf := format('chat_telemetry_%s_rollups_day_%s', rollup, to_char(month, 'YYYY_MM'));
      EXECUTE format('CREATE TABLE @schema@.%I (LIKE %s INCLUDING ALL) WITH (fillfactor = 60)', leaf, open_leaf);
      IF rollup = 'model' THEN
        EXECUTE format('ALTER TABLE @schema@.%I REPLICA IDENTITY FULL, SET (toast_tuple_target = 512)', leaf);
        EXECUTE format(
          'CREATE INDEX %I ON @schema@.%I (model, avg_duration_ms, success_rate_pct)',
          'idx_' || leaf || '_performance', leaf);
      ELSE
        EXECUTE format('CREATE INDEX %I ON @schema@.%I (total_cost_usd DESC, domain)', 'idx_' || leaf || '_cost', leaf);
      END IF;
      SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO columns FROM pg_attribute AS a
      WHERE a.attrelid = open_leaf::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
      EXECUTE format(
        'WITH moved AS (DELETE FROM %1$s WHERE bucket_start < %2$L RETURNING *)
        INSERT INTO @schema@.%3$I (%4$s) SELECT %4$s FROM moved',
        open_leaf, month + interval '1 month', leaf, columns);
      EXECUTE format(
        'ALTER TABLE @schema@.chat_telemetry_%s_rollups_day ATTACH PARTITION @schema@.%I FOR VALUES FROM (%L) TO (%L)',
        rollup, leaf, month, month + interval '1 month');
    END LOOP;
  END LOOP;
END
$function$;

-- Adds the sketches that folds have left to the day rows of the model rollups. Their bins are appended, and summed up
-- once they are many. Apart from the fold, for it takes longer than one, and nothing waits for it.
CREATE FUNCTION @schema@.chat_telemetry_settle_day_sketches() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET work_mem = '64MB' SET enable_sort = off
AS $function$
DECLARE
  days timestamptz[];
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  -- Named apart, so that only their rows are read.
  SELECT array_agg(DISTINCT day::timestamptz) INTO days FROM @schema@.chat_telemetry_day_sketch_deltas;
  -- Where very many stand for one row, they are summed up first: putting them behind each other would be quadratic.
  WITH many AS MATERIALIZED (
    SELECT day, coalesce(domain, '') AS name, model FROM @schema@.chat_telemetry_day_sketch_deltas
    GROUP BY day, domain, model HAVING count(*) > 1000
  ), delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_day_sketch_deltas AS d USING many AS m
    WHERE d.day = m.day AND coalesce(d.domain, '') = m.name AND d.model = m.model
    RETURNING d.*
  ), hit AS (
    SELECT day, domain, model, bin, sum(n) AS n
    FROM (SELECT day, domain, model, unnest(bins) AS bin, unnest(bin_counts) AS n FROM delta) AS u
    GROUP BY day, domain, model, bin
  )
  INSERT INTO @schema@.chat_telemetry_day_sketch_deltas (day, domain, model, bins, bin_counts)
  SELECT day, domain, model, array_agg(bin), array_agg(n::integer) FROM hit GROUP BY day, domain, model;

  WITH delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_day_sketch_deltas RETURNING *
  ), sketch AS MATERIALIZED (
    SELECT day, domain, model, @schema@.chat_telemetry_concat(bins) AS bins,
      @schema@.chat_telemetry_concat(bin_counts::bigint[]) AS counts
    FROM delta GROUP BY day, domain, model
  )
  UPDATE @schema@.chat_telemetry_model_rollups_day AS r
  SET (duration_bins, duration_bin_counts) = (
    SELECT c.bins, c.counts FROM @schema@.chat_telemetry_compact_sketch(
      r.duration_bins || s.bins, r.duration_bin_counts || s.counts) AS c)
  FROM sketch AS s
  WHERE r.granularity = 'day' AND r.bucket_start = ANY (days) AND r.bucket_start = s.day::timestamptz
    -- No domain is blank, so the blank can stand for none; IS NOT DISTINCT FROM would compare each with each.
    AND coalesce(r.domain, '') = coalesce(s.domain, '') AND r.model = s.model;
  UPDATE @schema@.chat_telemetry_fold_state SET day_sketch_deltas = 0;
  BEGIN
    PERFORM @schema@.chat_telemetry_close_months(now() - interval '2 days');
  EXCEPTION WHEN lock_not_available THEN
    -- Somebody reads the open days for long. The next settling tries again.
  END;
END
$function$;

-- Makes the function that folds: with the lists of the measures, which it needs at four tables, written once.
DO $migration$
DECLARE
  measures CONSTANT text[] := '{total_requests, success_count, failure_count, total_input_tokens, total_output_tokens,
    total_cost_usd, max_cost_usd, total_duration_ms, timed_requests, max_duration_ms, total_searches, total_iterations,
    first_request_at, last_request_at}';
  additions text;
  sums text;
  sources text;
  measure_values text;
BEGIN
  SELECT string_agg(format(
      CASE WHEN name LIKE 'max\_%' OR name LIKE 'last\_%' THEN '%1$s = greatest(r.%1$s, excluded.%1$s)'
        WHEN name LIKE 'first\_%' THEN '%1$s = least(r.%1$s, excluded.%1$s)'
        ELSE '%1$s = r.%1$s + excluded.%1$s' END, name), ', ') || ', updated_at = now()',
    string_agg(format(
      CASE WHEN name LIKE 'max\_%' OR name LIKE 'last\_%' THEN 'max(%1$s) AS %1$s'
        WHEN name LIKE 'first\_%' THEN 'min(%1$s) AS %1$s'
        ELSE '@schema@.chat_telemetry_sum(%1$s) AS %1$s' END, replace(name, '_usd', '_micros')), ', ')
      FILTER (WHERE name <> 'failure_count'),
    string_agg(replace(name, '_usd', '_micros'), ', ') FILTER (WHERE name <> 'failure_count'),
    string_agg(CASE WHEN name = 'failure_count' THEN 'total_requests - success_count'
      WHEN name LIKE '%\_usd' THEN replace(name, '_usd', '_micros') || ' * 0.000001' ELSE name END, ', ')
  INTO additions, sums, sources, measure_values FROM unnest(measures) AS name;

  EXECUTE replace(replace(replace(replace(replace($text$
-- Moves everything pending into day rollups, totals, sketches and windows: one DELETE … RETURNING of one snapshot feeds
-- them all, so a batch is folded whole and once, whoever calls this and however often. One at a time, by a lock.
-- Groups are hashed, not sorted: statistics of tables that are empty most of the time mislead the planner.
CREATE FUNCTION @schema@.chat_telemetry_fold(OUT folded_batches bigint, OUT folded_events bigint, OUT folded_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET jit = off SET work_mem = '64MB' SET enable_sort = off
AS $function$
DECLARE
  new_day_sketches bigint;
  hours timestamptz[];
BEGIN
  PERFORM pg_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint);
  WITH batch AS (
    DELETE FROM @schema@.chat_telemetry_pending_batches RETURNING events
  ), delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_summary_deltas RETURNING *
  ), sketch_delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_sketch_deltas RETURNING *
  ), window_delta AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_window_deltas RETURNING *
  ),

  -- Day rollups and totals: batches summed up first, then what they come to by each table's key.
  fine AS MATERIALIZED (
    SELECT day, domain, model, coalesce(domain, 'unknown') AS shown_domain,
      coalesce(nullif(model, ''), 'unknown') AS shown_model, @sums@
    FROM delta GROUP BY day, domain, model
  ), coarse AS MATERIALIZED (
    SELECT GROUPING(shown_domain) = 1 AS is_day, day, shown_domain, @sums@
    FROM fine GROUP BY GROUPING SETS ((day), (day, shown_domain))
  ), by_model AS (
    -- Two models come to one row only where one of them is blank.
    SELECT day, domain, shown_model, @sources@ FROM fine WHERE model NOT IN ('', 'unknown')
    UNION ALL
    SELECT day, domain, shown_model, @sums@ FROM fine WHERE model IN ('', 'unknown') GROUP BY day, domain, shown_model
  ), by_total AS (
    -- Two days come to one row, and most folds are of one.
    SELECT domain, model, @sources@ FROM fine WHERE (SELECT count(*) FROM coarse WHERE is_day) = 1
    UNION ALL
    SELECT domain, model, @sums@ FROM fine WHERE (SELECT count(*) FROM coarse WHERE is_day) > 1 GROUP BY domain, model
  ), day_rows AS (
    INSERT INTO @schema@.chat_telemetry_rollups_day AS r (granularity, bucket_start, bucket_end, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, @values@
    FROM coarse WHERE is_day ORDER BY day
    ON CONFLICT (granularity, bucket_start) DO UPDATE SET @additions@
  ), domain_rows AS (
    INSERT INTO @schema@.chat_telemetry_domain_rollups_day AS r
      (granularity, bucket_start, bucket_end, domain, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, shown_domain, @values@
    FROM coarse WHERE NOT is_day ORDER BY day, shown_domain COLLATE "C"
    ON CONFLICT (granularity, bucket_start, domain) DO UPDATE SET @additions@
  ), model_rows AS (
    INSERT INTO @schema@.chat_telemetry_model_rollups_day AS r
      (granularity, bucket_start, bucket_end, domain, model, duration_bins, duration_bin_counts, @measures@)
    SELECT 'day', day::timestamptz, (day + 1)::timestamptz, domain, shown_model, '{}', '{}', @values@
    FROM by_model ORDER BY day, domain COLLATE "C", shown_model COLLATE "C"
    ON CONFLICT (granularity, bucket_start, domain, model) DO UPDATE SET @additions@
  ), total_rows AS (
    INSERT INTO @schema@.chat_telemetry_totals AS r (domain, model, @measures@)
    SELECT domain, model, @values@
    FROM by_total ORDER BY domain COLLATE "C", model COLLATE "C"
    ON CONFLICT (domain, model) DO UPDATE SET @additions@
  ),

  -- Sketches.
  day_sketch AS (
    INSERT INTO @schema@.chat_telemetry_day_sketch_deltas (day, domain, model, bins, bin_counts)
    SELECT day, domain, coalesce(nullif(model, ''), 'unknown'), bins, bin_counts FROM delta WHERE bins <> '{}'
    RETURNING 1
  ), part AS MATERIALIZED (
    -- What puts arrays behind each other copies them again and again: so in parts, which chance tells apart.
    SELECT kind, name, @schema@.chat_telemetry_concat(bins) AS bins, @schema@.chat_telemetry_concat(bin_counts) AS counts,
      @schema@.chat_telemetry_sum(timed_requests) AS timed
    FROM sketch_delta GROUP BY kind, name, (random() * (SELECT count(*) / 20000 FROM sketch_delta))::integer
  ), grown AS MATERIALIZED (
    SELECT kind, name, @schema@.chat_telemetry_concat(bins) AS bins, @schema@.chat_telemetry_concat(counts) AS counts,
      @schema@.chat_telemetry_sum(timed) AS timed
    FROM part GROUP BY kind, name
  ), placed AS MATERIALIZED (
    -- The places of the percentiles with the new hits; null for a new sketch.
    SELECT g.kind, g.name, coalesce(s.timed_requests, 0) + g.timed AS timed,
      s.median_bin, s.median_before + below_median AS median_before, s.median_hits + at_median AS median_hits,
      least(s.median_next, above_median) AS median_next,
      s.p95_bin, s.p95_before + below_p95 AS p95_before, s.p95_hits + at_p95 AS p95_hits,
      least(s.p95_next, above_p95) AS p95_next,
      coalesce(s.recent_bins, '{}') || g.bins AS recent_bins,
      coalesce(s.recent_counts, '{}') || g.counts AS recent_counts,
      s.bin_counts
    FROM grown AS g
    LEFT JOIN @schema@.chat_telemetry_sketches AS s ON s.kind = g.kind AND s.name = g.name
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(u.n) FILTER (WHERE u.bin < s.median_bin), 0) AS below_median,
        coalesce(sum(u.n) FILTER (WHERE u.bin = s.median_bin), 0) AS at_median,
        min(u.bin) FILTER (WHERE u.bin > s.median_bin) AS above_median,
        coalesce(sum(u.n) FILTER (WHERE u.bin < s.p95_bin), 0) AS below_p95,
        coalesce(sum(u.n) FILTER (WHERE u.bin = s.p95_bin), 0) AS at_p95,
        min(u.bin) FILTER (WHERE u.bin > s.p95_bin) AS above_p95
      FROM unnest(g.bins, g.counts) AS u (bin, n) WHERE cardinality(s.recent_bins) + cardinality(g.bins) <= 200
    ) AS new
  ), judged AS MATERIALIZED (
    SELECT p.*, 50 * (timed - 1) / 100 AS median_rank, 95 * (timed - 1) / 100 AS p95_rank,
      cardinality(recent_bins) > 200 AS is_long,
      bin_counts IS NOT NULL AND cardinality(recent_bins) <= 200
        AND 50 * (timed - 1) / 100 >= median_before AND 50 * (timed - 1) / 100 < median_before + median_hits
        AND 95 * (timed - 1) / 100 >= p95_before AND 95 * (timed - 1) / 100 < p95_before + p95_hits AS is_in_place
    FROM placed AS p
  ), summed_up AS MATERIALIZED (
    SELECT j.*, @schema@.chat_telemetry_add_hits(bin_counts, recent_bins, recent_counts) AS all_counts
    FROM judged AS j WHERE NOT is_in_place
  ), new_sketch AS (
    SELECT kind, name, timed, m.bin AS median_bin, m.before AS median_before, m.hits AS median_hits,
      m.next_bin AS median_next, p.bin AS p95_bin, p.before AS p95_before, p.hits AS p95_hits, p.next_bin AS p95_next,
      '{}'::smallint[] AS recent_bins, '{}'::integer[] AS recent_counts, all_counts AS bin_counts
    FROM summed_up
    CROSS JOIN LATERAL @schema@.chat_telemetry_find_rank(
      median_rank, median_bin, CASE WHEN NOT is_long THEN median_before END, median_hits, median_next, all_counts) AS m
    CROSS JOIN LATERAL @schema@.chat_telemetry_find_rank(
      p95_rank, p95_bin, CASE WHEN NOT is_long THEN p95_before END, p95_hits, p95_next, all_counts) AS p
    UNION ALL
    SELECT kind, name, timed, median_bin, median_before, median_hits, median_next,
      p95_bin, p95_before, p95_hits, p95_next, recent_bins, recent_counts, '{}'
    FROM judged WHERE is_in_place
  ), sketch_rows AS (
    INSERT INTO @schema@.chat_telemetry_sketches AS r (kind, name, timed_requests,
      median_bin, median_before, median_hits, median_next, p95_bin, p95_before, p95_hits, p95_next,
      recent_bins, recent_counts, bin_counts)
    SELECT * FROM new_sketch ORDER BY kind, name COLLATE "C"
    ON CONFLICT (kind, name) DO UPDATE SET timed_requests = excluded.timed_requests,
      median_bin = excluded.median_bin, median_before = excluded.median_before, median_hits = excluded.median_hits,
      median_next = excluded.median_next, p95_bin = excluded.p95_bin, p95_before = excluded.p95_before,
      p95_hits = excluded.p95_hits, p95_next = excluded.p95_next,
      recent_bins = excluded.recent_bins, recent_counts = excluded.recent_counts,
      bin_counts = CASE WHEN excluded.bin_counts = '{}' THEN r.bin_counts ELSE excluded.bin_counts END
  ),

  -- Windows.
  window_part AS MATERIALIZED (
    SELECT hour, domain, model, @schema@.chat_telemetry_sum(requests) AS requests,
      @schema@.chat_telemetry_sum(cost_micros) AS cost, @schema@.chat_telemetry_concat(minutes) AS minutes,
      @schema@.chat_telemetry_concat(minute_requests) AS minute_requests,
      @schema@.chat_telemetry_concat(minute_costs) AS minute_costs
    FROM window_delta GROUP BY domain, model, hour, (random() * (SELECT count(*) / 20000 FROM window_delta))::integer
  ), window_hour AS MATERIALIZED (
    SELECT CASE WHEN domain IS NULL THEN 'model' ELSE 'domain' END AS kind, coalesce(domain, model) AS name,
      hour AS start, @schema@.chat_telemetry_sum(requests) AS requests, @schema@.chat_telemetry_sum(cost) AS cost,
      @schema@.chat_telemetry_concat(minutes) AS minutes,
      @schema@.chat_telemetry_concat(minute_requests) AS minute_requests,
      @schema@.chat_telemetry_concat(minute_costs) AS minute_costs
    FROM window_part GROUP BY domain, model, hour
  ), window_hour_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_hours AS r
      (kind, name, start, requests, cost_micros, minutes, minute_requests, minute_costs)
    SELECT * FROM window_hour ORDER BY kind, start, name COLLATE "C"
    ON CONFLICT (kind, start, name) DO UPDATE SET
      requests = r.requests + excluded.requests, cost_micros = r.cost_micros + excluded.cost_micros,
      minutes = r.minutes || excluded.minutes, minute_requests = r.minute_requests || excluded.minute_requests,
      minute_costs = r.minute_costs || excluded.minute_costs
  ), window_day_rows AS (
    INSERT INTO @schema@.chat_telemetry_window_days AS r (kind, start, name, requests, cost_micros)
    SELECT kind, date_trunc('day', start), name, @schema@.chat_telemetry_sum(requests),
      @schema@.chat_telemetry_sum(cost)
    FROM window_hour GROUP BY kind, date_trunc('day', start), name
    ON CONFLICT (kind, start, name) DO UPDATE SET
      requests = r.requests + excluded.requests, cost_micros = r.cost_micros + excluded.cost_micros
  )
  SELECT count(*), coalesce(sum(b.events), 0), (SELECT count(*) FROM delta), (SELECT count(*) FROM day_sketch),
    (SELECT array_agg(DISTINCT start) FROM window_hour)
  INTO folded_batches, folded_events, folded_rows, new_day_sketches, hours
  FROM batch AS b;

  -- Appending has made some long: a minute of them comes once again.
  UPDATE @schema@.chat_telemetry_window_hours AS h SET (minutes, minute_requests, minute_costs) = (
    SELECT array_agg(s.minute), array_agg(s.requests), array_agg(s.cost)
    FROM (
      SELECT u.minute, @schema@.chat_telemetry_sum(u.requests) AS requests, @schema@.chat_telemetry_sum(u.cost) AS cost
      FROM (
        SELECT unnest(h.minutes) AS minute, unnest(h.minute_requests) AS requests, unnest(h.minute_costs) AS cost
      ) AS u
      GROUP BY u.minute
    ) AS s)
  WHERE kind IN ('domain', 'model') AND start = ANY (hours) AND cardinality(minutes) > 120;
  IF folded_batches > 0 THEN
    UPDATE @schema@.chat_telemetry_fold_state AS s
    SET folded_events = s.folded_events + chat_telemetry_fold.folded_events, folded_at = now(),
      day_sketch_deltas = s.day_sketch_deltas + new_day_sketches;
  END IF;
  -- What no window can reach any more.
  DELETE FROM @schema@.chat_telemetry_window_days
  WHERE kind IN ('domain', 'model') AND start < now() - interval '8 days';
  DELETE FROM @schema@.chat_telemetry_window_hours
  WHERE kind IN ('domain', 'model') AND start < now() - interval '8 days';
  -- The coordinator settles far earlier, between refreshes; this is for whoever refreshes without one.
  IF (SELECT s.day_sketch_deltas FROM @schema@.chat_telemetry_fold_state AS s) > 1000000 THEN
    PERFORM @schema@.chat_telemetry_settle_day_sketches();
  END IF;
END
$function$
$text$, '@measures@', array_to_string(measures, ', ')), '@additions@', additions), '@sums@', sums),
    '@values@', measure_values), '@sources@', sources);
END
$migration$;

REVOKE ALL ON FUNCTION @schema@.chat_telemetry_sum(bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_concat(anycompatiblearray) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_compact_sketch(smallint[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_add_hits(bigint[], smallint[], integer[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_find_rank(bigint, integer, bigint, bigint, integer, bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_close_months(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_settle_day_sketches() FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_fold() FROM PUBLIC;
