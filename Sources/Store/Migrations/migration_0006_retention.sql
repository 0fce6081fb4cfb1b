-- Retention: raw rows, hour rollups and day rollups of a day go in this order, once each is old enough. Totals, sketches
-- and the settled rows never forget. Every function here is one short transaction's work; whoever calls it again goes on
-- where the last call ended.

-- The marks of the later stages: a day whose raw rows are gone (dropped_at) changes no more, so the rest can go in steps.
ALTER TABLE @schema@.chat_telemetry_days
  ADD COLUMN hours_dropped_at timestamptz,
  ADD COLUMN dropped_hour_rows bigint NOT NULL DEFAULT 0,
  ADD COLUMN settled_at timestamptz,
  ADD COLUMN dropped_day_rows bigint NOT NULL DEFAULT 0;

-- What the day rows of the model rollups that retention has deleted came to: with the day rows that are left, and what
-- is not folded yet, they make up the totals. A blank model is 'unknown', as in the day rows; each bin stands once.
CREATE TABLE @schema@.chat_telemetry_settled_rollups (
  domain text,
  model text NOT NULL,
  total_requests bigint NOT NULL,
  success_count bigint NOT NULL,
  failure_count bigint NOT NULL,
  total_input_tokens bigint NOT NULL,
  total_output_tokens bigint NOT NULL,
  total_cost_usd numeric NOT NULL,
  max_cost_usd numeric(12, 6),
  total_duration_ms bigint NOT NULL,
  timed_requests bigint NOT NULL,
  max_duration_ms bigint,
  total_searches bigint NOT NULL,
  total_iterations bigint NOT NULL,
  first_request_at timestamptz NOT NULL,
  last_request_at timestamptz NOT NULL,
  duration_bins smallint[] NOT NULL,
  duration_bin_counts bigint[] NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (domain, model)
) WITH (fillfactor = 60);

-- The days that have raw rows, and from when on they may go: once the whole day is that old, and a day after the last
-- row came, so that a replay of old history is not fought. An hour's global rollup says when it was last written, in the
-- transaction that wrote; a day without any is as old as its partition. While a backfill is unfinished, every day may
-- be one that it has yet to bring the rest of: none goes, until it has stood still for a week. 0 keeps all.
CREATE FUNCTION @schema@.chat_telemetry_droppable_days(raw_days integer)
RETURNS TABLE (day date, droppable_at timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $function$
  SELECT d.day, greatest((d.day + 1 + raw_days)::timestamptz, d.created_at + interval '24 hours',
    (SELECT max(r.updated_at) FROM @schema@.chat_telemetry_rollups_hour AS r
      WHERE r.granularity = 'hour' AND r.bucket_start >= d.day::timestamptz
        AND r.bucket_start < (d.day + 1)::timestamptz) + interval '24 hours',
    (SELECT max(greatest(j.started_at, o.updated_at)) FROM @schema@.chat_telemetry_backfill_jobs AS j
      LEFT JOIN @schema@.chat_telemetry_offsets AS o ON o.consumer_group = j.consumer_group
      WHERE j.finished_at IS NULL) + interval '168 hours')
  FROM @schema@.chat_telemetry_days AS d
  WHERE d.dropped_at IS NULL AND raw_days > 0
$function$;

-- Drops the raw rows of the oldest day that may go; null when there is none. Nobody is made to wait for longer than
-- lock_wait_ms: who reads or writes that day is not waited for at all, and the raw table itself, which every batch
-- locks, for that long. Fails with lock_not_available then, and nothing has changed.
CREATE FUNCTION @schema@.chat_telemetry_drop_raw_day(
  raw_days integer, lock_wait_ms integer, OUT dropped_day date, OUT dropped_rows bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $function$
DECLARE
  leaf regclass;
BEGIN
  IF raw_days < 1 OR lock_wait_ms < 1 THEN
    RAISE EXCEPTION 'raw_days and lock_wait_ms must be at least 1, not % and %', raw_days, lock_wait_ms;
  END IF;
  IF NOT pg_try_advisory_xact_lock('@schema@.chat_telemetry_days'::regclass::oid::bigint) THEN
    RAISE EXCEPTION 'another session drops old days' USING ERRCODE = 'lock_not_available';
  END IF;
  SELECT d.day INTO dropped_day FROM @schema@.chat_telemetry_droppable_days(raw_days) AS d
  WHERE d.droppable_at <= now() ORDER BY d.day LIMIT 1;
  IF dropped_day IS NULL THEN
    RETURN;
  END IF;
  -- Null where somebody has dropped or detached it by hand: then the mark is all that is missing.
  SELECT i.inhrelid INTO leaf FROM pg_inherits AS i
  WHERE i.inhparent = '@schema@.chat_telemetry'::regclass
    AND i.inhrelid = to_regclass(format('@schema@.%I', 'chat_telemetry_' || to_char(dropped_day, 'YYYY_MM_DD')));
  -- Before the raw table's own lock, for whoever waits for that one stands in the way of every batch.
  IF leaf IS NOT NULL THEN
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', leaf);
  END IF;
  PERFORM set_config('lock_timeout', lock_wait_ms::text, true);
  LOCK TABLE ONLY @schema@.chat_telemetry IN ACCESS EXCLUSIVE MODE;
  -- From here on no batch is under way, and one that waits reads the mark: look again at what the last ones did.
  IF NOT EXISTS (
    SELECT FROM @schema@.chat_telemetry_droppable_days(raw_days) AS d
    WHERE d.day = dropped_day AND d.droppable_at <= now()
  ) THEN
    dropped_day := NULL;
    RETURN;
  END IF;
  SELECT coalesce(sum(r.total_requests), 0) INTO dropped_rows FROM @schema@.chat_telemetry_rollups_hour AS r
  WHERE r.granularity = 'hour' AND r.bucket_start >= dropped_day::timestamptz
    AND r.bucket_start < (dropped_day + 1)::timestamptz;
  UPDATE @schema@.chat_telemetry_days AS d
  SET dropped_at = now(), dropped_rows = chat_telemetry_drop_raw_day.dropped_rows
  WHERE d.day = dropped_day;
  IF leaf IS NOT NULL THEN
    EXECUTE format('ALTER TABLE @schema@.chat_telemetry DETACH PARTITION %s', leaf);
    EXECUTE format('DROP TABLE %s', leaf);
  END IF;
END
$function$;

-- Deletes up to row_limit hour rollups of the oldest day that is hour_days old and whose raw rows are gone: no batch
-- writes those any more, so no batch waits for this. Null when there is none.
CREATE FUNCTION @schema@.chat_telemetry_drop_hour_rollups(
  hour_days integer, row_limit integer,
  OUT dropped_day date, OUT dropped_rows bigint, OUT day_rows bigint, OUT is_finished boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '500ms'
AS $function$
DECLARE
  part text;
  part_rows bigint;
BEGIN
  IF hour_days < 1 OR row_limit < 1 THEN
    RAISE EXCEPTION 'hour_days and row_limit must be at least 1, not % and %', hour_days, row_limit;
  END IF;
  IF NOT pg_try_advisory_xact_lock('@schema@.chat_telemetry_days'::regclass::oid::bigint) THEN
    RAISE EXCEPTION 'another session drops old days' USING ERRCODE = 'lock_not_available';
  END IF;
  SELECT d.day INTO dropped_day FROM @schema@.chat_telemetry_days AS d
  WHERE d.dropped_at IS NOT NULL AND d.hours_dropped_at IS NULL AND (d.day + 1 + hour_days)::timestamptz <= now()
  ORDER BY d.day LIMIT 1;
  IF dropped_day IS NULL THEN
    RETURN;
  END IF;
  dropped_rows := 0;
  -- The day is asked for twice: a ctid by itself would name rows of other days, were the table partitioned.
  FOREACH part IN ARRAY '{chat_telemetry_model_rollups_hour, chat_telemetry_domain_rollups_hour,
    chat_telemetry_rollups_hour}'::text[]
  LOOP
    EXECUTE format(
      'DELETE FROM @schema@.%1$I WHERE granularity = ''hour'' AND bucket_start >= $1 AND bucket_start < $2
        AND ctid = ANY (ARRAY (
          SELECT ctid FROM @schema@.%1$I WHERE granularity = ''hour'' AND bucket_start >= $1 AND bucket_start < $2
          ORDER BY bucket_start LIMIT $3))', part)
    USING dropped_day::timestamptz, (dropped_day + 1)::timestamptz, row_limit - dropped_rows;
    GET DIAGNOSTICS part_rows = ROW_COUNT;
    dropped_rows := dropped_rows + part_rows;
  END LOOP;
  is_finished := dropped_rows < row_limit;
  UPDATE @schema@.chat_telemetry_days AS d
  SET dropped_hour_rows = d.dropped_hour_rows + chat_telemetry_drop_hour_rollups.dropped_rows,
    hours_dropped_at = CASE WHEN is_finished THEN now() END
  WHERE d.day = dropped_day
  RETURNING d.dropped_hour_rows INTO day_rows;
END
$function$;

-- Makes the function that settles day rollups: with the lists of the measures written once, as for the fold.
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
-- Moves up to row_limit day rollups of the oldest day that is day_days old, and whose raw rows and hour rollups are gone,
-- into the settled rows: what is pending of it is folded first. The totals know them already and stay as they are. Null
-- when there is none.
CREATE FUNCTION @schema@.chat_telemetry_settle_day_rollups(
  day_days integer, row_limit integer,
  OUT dropped_day date, OUT dropped_rows bigint, OUT day_rows bigint, OUT is_finished boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '500ms' SET jit = off
SET work_mem = '64MB'
AS $function$
DECLARE
  part text;
  part_rows bigint;
BEGIN
  IF day_days < 1 OR row_limit < 1 THEN
    RAISE EXCEPTION 'day_days and row_limit must be at least 1, not % and %', day_days, row_limit;
  END IF;
  IF NOT pg_try_advisory_xact_lock('@schema@.chat_telemetry_days'::regclass::oid::bigint) THEN
    RAISE EXCEPTION 'another session drops old days' USING ERRCODE = 'lock_not_available';
  END IF;
  SELECT d.day INTO dropped_day FROM @schema@.chat_telemetry_days AS d
  WHERE d.hours_dropped_at IS NOT NULL AND d.settled_at IS NULL AND (d.day + 1 + day_days)::timestamptz <= now()
  ORDER BY d.day LIMIT 1;
  IF dropped_day IS NULL THEN
    RETURN;
  END IF;
  -- The fold's lock too: day rows, totals and settled rows are of one moment for whoever holds it.
  IF NOT pg_try_advisory_xact_lock('@schema@.chat_telemetry_fold_state'::regclass::oid::bigint) THEN
    RAISE EXCEPTION 'another session folds or refreshes' USING ERRCODE = 'lock_not_available';
  END IF;
  -- The day takes no event any more, so what is folded once stays so.
  IF EXISTS (SELECT FROM @schema@.chat_telemetry_summary_deltas AS s WHERE s.day = dropped_day) THEN
    PERFORM @schema@.chat_telemetry_fold();
  END IF;
  IF EXISTS (SELECT FROM @schema@.chat_telemetry_day_sketch_deltas AS s WHERE s.day = dropped_day) THEN
    PERFORM @schema@.chat_telemetry_settle_day_sketches();
  END IF;

  WITH day_row AS MATERIALIZED (
    DELETE FROM @schema@.chat_telemetry_model_rollups_day
    WHERE granularity = 'day' AND bucket_start = dropped_day::timestamptz AND ctid = ANY (ARRAY (
      SELECT ctid FROM @schema@.chat_telemetry_model_rollups_day
      WHERE granularity = 'day' AND bucket_start = dropped_day::timestamptz LIMIT row_limit))
    RETURNING *
  ), hit AS (
    SELECT d.domain, d.model, u.bin, u.n
    FROM day_row AS d, unnest(d.duration_bins, d.duration_bin_counts) AS u (bin, n)
    UNION ALL
    -- No domain is blank, so the blank can stand for none; IS NOT DISTINCT FROM would compare each with each.
    SELECT d.domain, d.model, u.bin, u.n
    FROM day_row AS d
    JOIN @schema@.chat_telemetry_settled_rollups AS s
      ON coalesce(s.domain, '') = coalesce(d.domain, '') AND s.model = d.model,
      unnest(s.duration_bins, s.duration_bin_counts) AS u (bin, n)
  ), sketch AS (
    SELECT s.domain, s.model, array_agg(s.bin ORDER BY s.bin) AS bins, array_agg(s.n ORDER BY s.bin) AS counts
    FROM (SELECT domain, model, bin, sum(n)::bigint AS n FROM hit GROUP BY domain, model, bin) AS s
    GROUP BY s.domain, s.model
  )
  INSERT INTO @schema@.chat_telemetry_settled_rollups AS r
    (domain, model, duration_bins, duration_bin_counts, @measures@)
  SELECT d.domain, d.model, coalesce(s.bins, '{}'), coalesce(s.counts, '{}'), @measures@
  FROM day_row AS d
  LEFT JOIN sketch AS s ON coalesce(s.domain, '') = coalesce(d.domain, '') AND s.model = d.model
  ORDER BY d.domain, d.model
  ON CONFLICT (domain, model) DO UPDATE SET
    duration_bins = excluded.duration_bins, duration_bin_counts = excluded.duration_bin_counts, @additions@;
  GET DIAGNOSTICS dropped_rows = ROW_COUNT;

  FOREACH part IN ARRAY '{chat_telemetry_domain_rollups_day, chat_telemetry_rollups_day}'::text[] LOOP
    EXECUTE format(
      'DELETE FROM @schema@.%1$I WHERE granularity = ''day'' AND bucket_start = $1 AND ctid = ANY (ARRAY (
        SELECT ctid FROM @schema@.%1$I WHERE granularity = ''day'' AND bucket_start = $1 LIMIT $2))', part)
    USING dropped_day::timestamptz, row_limit - dropped_rows;
    GET DIAGNOSTICS part_rows = ROW_COUNT;
    dropped_rows := dropped_rows + part_rows;
  END LOOP;
  is_finished := dropped_rows < row_limit;
  UPDATE @schema@.chat_telemetry_days AS d
  SET dropped_day_rows = d.dropped_day_rows + chat_telemetry_settle_day_rollups.dropped_rows,
    settled_at = CASE WHEN is_finished THEN now() END
  WHERE d.day = dropped_day
  RETURNING d.dropped_day_rows INTO day_rows;
END
$function$
$text$, '@measures@', array_to_string(measures, ', ')), '@additions@', additions);
END
$migration$;

REVOKE ALL ON FUNCTION @schema@.chat_telemetry_droppable_days(integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_drop_raw_day(integer, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_drop_hour_rollups(integer, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_settle_day_rollups(integer, integer) FROM PUBLIC;
