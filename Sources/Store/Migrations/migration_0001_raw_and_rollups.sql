-- Raw rows, hour rollups, positions, dead letters and the deltas that the coordinator folds.
-- @schema@ stands for the quoted name of the schema. Everything here is owned by whoever migrates; the worker's
-- role needs USAGE on the schema, DML on the tables and EXECUTE on the functions only.

CREATE TABLE @schema@.chat_telemetry (
  created_at timestamptz NOT NULL,
  id uuid NOT NULL,
  session_id text NOT NULL,
  conversation_id text,
  domain text,
  model text NOT NULL,
  start_time timestamptz NOT NULL,
  end_time timestamptz,
  duration_ms integer,
  iterations integer NOT NULL,
  max_iterations integer,
  search_count integer NOT NULL,
  total_results integer NOT NULL,
  final_response_length integer,
  input_tokens integer,
  output_tokens integer,
  total_tokens bigint GENERATED ALWAYS AS (coalesce(input_tokens, 0)::bigint + coalesce(output_tokens, 0)::bigint) STORED,
  cost_usd numeric(12, 6),
  success boolean NOT NULL,
  error text,
  user_agent text,
  ip_address text,
  searches jsonb,
  logs jsonb,
  model_config jsonb,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (created_at, id)
) PARTITION BY RANGE (created_at);

-- The days that have, or had, a partition of the raw table. A day whose dropped_at is set takes no row any more: a
-- repeat could not be told from a new event.
CREATE TABLE @schema@.chat_telemetry_days (
  day date PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  dropped_at timestamptz,
  dropped_rows bigint,
  -- Events that came after the day was dropped; each is a dead letter, the first 1,000 with their payload.
  late_events bigint NOT NULL DEFAULT 0
);

-- Makes the partitions of days that have none. ATTACH waits for no reader and no writer; PARTITION OF would.
CREATE FUNCTION @schema@.chat_telemetry_ensure_days(wanted date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET client_min_messages = 'warning'
AS $function$
DECLARE
  missing date;
  leaf text;
  low timestamptz;
  high timestamptz;
BEGIN
  IF NOT EXISTS (
    SELECT FROM unnest(wanted) AS w (day)
    WHERE NOT EXISTS (SELECT FROM @schema@.chat_telemetry_days AS d WHERE d.day = w.day)
  ) THEN
    RETURN;
  END IF;
  -- The lock that ATTACH takes, taken first, so that two replicas making days queue up here and cannot deadlock.
  LOCK TABLE @schema@.chat_telemetry IN SHARE UPDATE EXCLUSIVE MODE;
  FOR missing IN
    SELECT DISTINCT w.day FROM unnest(wanted) AS w (day)
    WHERE NOT EXISTS (SELECT FROM @schema@.chat_telemetry_days AS d WHERE d.day = w.day)
    ORDER BY w.day
  LOOP
    leaf := 'chat_telemetry_' || to_char(missing, 'YYYY_MM_DD');
    low := missing::timestamptz;
    high := (missing + 1)::timestamptz;
    EXECUTE format('CREATE TABLE @schema@.%I (LIKE @schema@.chat_telemetry INCLUDING ALL)', leaf);
    EXECUTE format(
      'ALTER TABLE @schema@.chat_telemetry ATTACH PARTITION @schema@.%I FOR VALUES FROM (%L) TO (%L)',
      leaf, low, high);
    INSERT INTO @schema@.chat_telemetry_days (day) VALUES (missing);
  END LOOP;
END
$function$;

-- Rollups. Rows of granularity 'hour' are written by the ingest transaction and are the hot ones: little filled pages
-- and no index but the key, so that an update stays HOT. Rows of granularity 'day' are folded by the coordinator.
CREATE TABLE @schema@.chat_telemetry_rollups (
  granularity text NOT NULL,
  bucket_start timestamptz NOT NULL,
  bucket_end timestamptz NOT NULL,
  total_requests bigint NOT NULL,
  success_count bigint NOT NULL,
  failure_count bigint NOT NULL,
  total_input_tokens bigint NOT NULL,
  total_output_tokens bigint NOT NULL,
  total_cost_usd numeric(20, 6) NOT NULL,
  max_cost_usd numeric(12, 6),
  total_duration_ms bigint NOT NULL,
  timed_requests bigint NOT NULL,
  max_duration_ms bigint,
  total_searches bigint NOT NULL,
  total_iterations bigint NOT NULL,
  first_request_at timestamptz NOT NULL,
  last_request_at timestamptz NOT NULL,
  avg_duration_ms numeric GENERATED ALWAYS AS (total_duration_ms::numeric / nullif(timed_requests, 0)) STORED,
  avg_searches numeric GENERATED ALWAYS AS (total_searches::numeric / nullif(total_requests, 0)) STORED,
  avg_iterations numeric GENERATED ALWAYS AS (total_iterations::numeric / nullif(total_requests, 0)) STORED,
  success_rate_pct numeric(5, 2) GENERATED ALWAYS AS
    (round(100 * success_count::numeric / nullif(total_requests, 0), 2)) STORED,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (granularity, bucket_start)
) PARTITION BY LIST (granularity);

CREATE TABLE @schema@.chat_telemetry_domain_rollups (
  LIKE @schema@.chat_telemetry_rollups INCLUDING DEFAULTS INCLUDING GENERATED,
  domain text NOT NULL,
  PRIMARY KEY (granularity, bucket_start, domain)
) PARTITION BY LIST (granularity);

CREATE TABLE @schema@.chat_telemetry_model_rollups (
  LIKE @schema@.chat_telemetry_rollups INCLUDING DEFAULTS INCLUDING GENERATED,
  domain text,
  model text NOT NULL,
  -- The duration sketch, in day rows only: a bin may come more than once until its row is compacted.
  duration_bins smallint[],
  duration_bin_counts bigint[],
  UNIQUE NULLS NOT DISTINCT (granularity, bucket_start, domain, model)
) PARTITION BY LIST (granularity);

CREATE TABLE @schema@.chat_telemetry_rollups_hour
  PARTITION OF @schema@.chat_telemetry_rollups FOR VALUES IN ('hour') WITH (fillfactor = 60);
CREATE TABLE @schema@.chat_telemetry_rollups_day
  PARTITION OF @schema@.chat_telemetry_rollups FOR VALUES IN ('day') WITH (fillfactor = 60);
CREATE TABLE @schema@.chat_telemetry_domain_rollups_hour
  PARTITION OF @schema@.chat_telemetry_domain_rollups FOR VALUES IN ('hour') WITH (fillfactor = 60);
CREATE TABLE @schema@.chat_telemetry_domain_rollups_day
  PARTITION OF @schema@.chat_telemetry_domain_rollups FOR VALUES IN ('day') PARTITION BY RANGE (bucket_start);
CREATE TABLE @schema@.chat_telemetry_model_rollups_hour
  PARTITION OF @schema@.chat_telemetry_model_rollups FOR VALUES IN ('hour') WITH (fillfactor = 60);
CREATE TABLE @schema@.chat_telemetry_model_rollups_day
  PARTITION OF @schema@.chat_telemetry_model_rollups FOR VALUES IN ('day') PARTITION BY RANGE (bucket_start);

-- The days still being written are apart from the closed ones, for the same reason: indexes on measures are on these.
-- What is before the month of this migration counts as closed; chat_telemetry_close_months() adds the months that end.
CREATE TABLE @schema@.chat_telemetry_domain_rollups_day_open
  PARTITION OF @schema@.chat_telemetry_domain_rollups_day DEFAULT WITH (fillfactor = 60);
CREATE TABLE @schema@.chat_telemetry_model_rollups_day_open
  PARTITION OF @schema@.chat_telemetry_model_rollups_day DEFAULT WITH (fillfactor = 60);
DO $migration$
DECLARE
  rollup text;
BEGIN
  FOREACH rollup IN ARRAY '{domain, model}'::text[] LOOP
    EXECUTE format(
      'CREATE TABLE @schema@.chat_telemetry_%1$s_rollups_day_closed PARTITION OF @schema@.chat_telemetry_%1$s_rollups_day
      FOR VALUES FROM (MINVALUE) TO (%2$L) WITH (fillfactor = 60)',
      rollup, date_trunc('month', now(), 'UTC'));
  END LOOP;
END
$migration$;

ALTER TABLE @schema@.chat_telemetry_model_rollups REPLICA IDENTITY FULL;
ALTER TABLE @schema@.chat_telemetry_model_rollups_hour REPLICA IDENTITY FULL;
ALTER TABLE @schema@.chat_telemetry_model_rollups_day REPLICA IDENTITY FULL;
ALTER TABLE @schema@.chat_telemetry_model_rollups_day_open REPLICA IDENTITY FULL;
ALTER TABLE @schema@.chat_telemetry_model_rollups_day_closed REPLICA IDENTITY FULL;

-- Sketches lie beside their rows, uncompressed: every fold writes the rows of a day, and none their sketches. 512 bytes
-- hold the rest of a row. A table made LIKE the open leaf gets the storage, and the target where it is made.
DO $migration$
DECLARE
  leaf text;
BEGIN
  FOREACH leaf IN ARRAY '{open, closed}'::text[] LOOP
    EXECUTE format(
      'ALTER TABLE @schema@.chat_telemetry_model_rollups_day_%s SET (toast_tuple_target = 512),
      ALTER COLUMN duration_bins SET STORAGE EXTERNAL, ALTER COLUMN duration_bin_counts SET STORAGE EXTERNAL', leaf);
  END LOOP;
END
$migration$;

-- On keys everywhere; on measures for the rows of closed days only.
CREATE INDEX idx_chat_telemetry_rollups_bucket
  ON @schema@.chat_telemetry_rollups (bucket_start DESC, granularity);
CREATE INDEX idx_chat_telemetry_domain_rollups_bucket
  ON @schema@.chat_telemetry_domain_rollups (bucket_start DESC, granularity);
CREATE INDEX idx_chat_telemetry_domain_rollups_domain
  ON @schema@.chat_telemetry_domain_rollups (domain, bucket_start);
CREATE INDEX idx_chat_telemetry_model_rollups_bucket
  ON @schema@.chat_telemetry_model_rollups (bucket_start DESC, granularity);
CREATE INDEX idx_chat_telemetry_model_rollups_domain
  ON @schema@.chat_telemetry_model_rollups (domain, bucket_start);
CREATE INDEX idx_chat_telemetry_domain_rollups_day_cost
  ON @schema@.chat_telemetry_domain_rollups_day_closed (total_cost_usd DESC, domain);
CREATE INDEX idx_chat_telemetry_model_rollups_day_performance
  ON @schema@.chat_telemetry_model_rollups_day_closed (model, avg_duration_ms, success_rate_pct);

-- What one batch adds to the days, the totals and the sketches, until the coordinator folds it. A null domain and a
-- blank model ('') stay apart from the word 'unknown'. Money is in micro-dollars.
CREATE TABLE @schema@.chat_telemetry_summary_deltas (
  day date NOT NULL,
  domain text,
  model text NOT NULL,
  total_requests bigint NOT NULL,
  success_count bigint NOT NULL,
  total_input_tokens bigint NOT NULL,
  total_output_tokens bigint NOT NULL,
  total_cost_micros bigint NOT NULL,
  max_cost_micros bigint,
  total_duration_ms bigint NOT NULL,
  timed_requests bigint NOT NULL,
  max_duration_ms bigint,
  total_searches bigint NOT NULL,
  total_iterations bigint NOT NULL,
  first_request_at timestamptz NOT NULL,
  last_request_at timestamptz NOT NULL,
  -- The duration sketch, sparse, for the day's: bins[i] was hit bin_counts[i] times.
  bins smallint[] NOT NULL,
  bin_counts integer[] NOT NULL
);

-- What one batch adds to the all-time sketches, summed up by domain and by model. kind is 'domain' or 'model'; there is
-- none for a null domain, nor for a blank model.
CREATE TABLE @schema@.chat_telemetry_sketch_deltas (
  kind text NOT NULL,
  name text NOT NULL,
  timed_requests bigint NOT NULL,
  bins smallint[] NOT NULL,
  bin_counts integer[] NOT NULL
);

-- What one batch adds to the trailing windows, for events recent enough to matter: one row for each hour and domain
-- (model null) and for each hour and model (domain null). minutes[i], 0 to 59, has minute_requests[i] of the requests.
CREATE TABLE @schema@.chat_telemetry_window_deltas (
  hour timestamptz NOT NULL,
  domain text,
  model text,
  requests bigint NOT NULL,
  cost_micros bigint NOT NULL,
  minutes smallint[] NOT NULL,
  minute_requests bigint[] NOT NULL,
  minute_costs bigint[] NOT NULL,
  CHECK ((domain IS NULL) <> (model IS NULL))
);

-- Read once, and soon: compressing the long ones would cost more than all else about them.
ALTER TABLE @schema@.chat_telemetry_summary_deltas
  ALTER COLUMN bins SET STORAGE EXTERNAL, ALTER COLUMN bin_counts SET STORAGE EXTERNAL;
ALTER TABLE @schema@.chat_telemetry_sketch_deltas
  ALTER COLUMN bins SET STORAGE EXTERNAL, ALTER COLUMN bin_counts SET STORAGE EXTERNAL;
ALTER TABLE @schema@.chat_telemetry_window_deltas
  ALTER COLUMN minutes SET STORAGE EXTERNAL, ALTER COLUMN minute_requests SET STORAGE EXTERNAL,
  ALTER COLUMN minute_costs SET STORAGE EXTERNAL;

-- One row for each committed batch that the coordinator has not folded yet: a cheap look at what is pending.
CREATE TABLE @schema@.chat_telemetry_pending_batches (
  batch_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  events bigint NOT NULL,
  delta_rows bigint NOT NULL,
  committed_at timestamptz NOT NULL DEFAULT now()
);

-- The truth about what has been consumed: next_offset is the first offset that is not stored yet.
CREATE TABLE @schema@.chat_telemetry_offsets (
  consumer_group text NOT NULL,
  topic text NOT NULL,
  partition integer NOT NULL CHECK (partition >= 0),
  next_offset bigint NOT NULL CHECK (next_offset >= 0),
  start_offset bigint NOT NULL,
  cluster_id text,
  last_record_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (consumer_group, topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE @schema@.chat_telemetry_dead_letters (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic text NOT NULL,
  partition integer NOT NULL,
  record_offset bigint NOT NULL,
  record_timestamp timestamptz,
  key bytea,
  payload bytea,
  -- Length of the payload as it came, also where the payload itself was not kept.
  payload_bytes integer NOT NULL,
  headers jsonb,
  reason text NOT NULL,
  detail text NOT NULL,
  -- The event's day, where the reason is before_retention.
  event_day date,
  received_at timestamptz NOT NULL DEFAULT now(),
  resolved_at timestamptz,
  resolution text CHECK (resolution IN ('retried', 'discarded')),
  -- The time tells the records of a topic from those of one that was deleted and made anew: offsets begin again there.
  UNIQUE NULLS NOT DISTINCT (topic, partition, record_offset, record_timestamp),
  CHECK ((resolved_at IS NULL) = (resolution IS NULL))
);
CREATE INDEX idx_chat_telemetry_dead_letters_reason
  ON @schema@.chat_telemetry_dead_letters (reason, received_at) WHERE resolved_at IS NULL;
CREATE INDEX idx_chat_telemetry_dead_letters_received
  ON @schema@.chat_telemetry_dead_letters (received_at);

-- A function with its owner's rights is for those it is granted to.
REVOKE ALL ON FUNCTION @schema@.chat_telemetry_ensure_days(date[]) FROM PUBLIC;
