-- What the coordinator keeps: totals, sketches and windows, the lease and the refresh log.

-- All-time totals. A null domain and a blank model ('') stay apart from the word 'unknown'.
CREATE TABLE @schema@.chat_telemetry_totals (
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
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE NULLS NOT DISTINCT (domain, model)
) WITH (fillfactor = 60);

-- All-time duration sketches of domains and models (kind), and in each the places of two percentiles. A place is the
-- bin that holds the lower of the two order statistics, the hits in the bins before it and in it, and the next bin that
-- was hit. New hits move these numbers; the bins themselves are read only when a percentile leaves its bin.
CREATE TABLE @schema@.chat_telemetry_sketches (
  kind text NOT NULL CHECK (kind IN ('domain', 'model')),
  name text NOT NULL,
  timed_requests bigint NOT NULL,
  median_bin smallint NOT NULL,
  median_before bigint NOT NULL,
  median_hits bigint NOT NULL,
  median_next smallint,
  p95_bin smallint NOT NULL,
  p95_before bigint NOT NULL,
  p95_hits bigint NOT NULL,
  p95_next smallint,
  -- Hits that bin_counts does not have yet: a bin may come more than once.
  recent_bins smallint[] NOT NULL,
  recent_counts integer[] NOT NULL,
  -- The subscripts are the bins, from the lowest to the highest that was hit: '[40:42]={1,0,7}'.
  bin_counts bigint[] NOT NULL,
  PRIMARY KEY (kind, name)
) WITH (fillfactor = 60);
-- Uncompressed and out of the row: what is not changed is then not written again.
ALTER TABLE @schema@.chat_telemetry_sketches ALTER COLUMN bin_counts SET STORAGE EXTERNAL;

-- What the folds since the last settling add to the sketches in the day rows of the model rollups: appending is far
-- cheaper than rewriting those at each fold.
CREATE TABLE @schema@.chat_telemetry_day_sketch_deltas (
  day date NOT NULL,
  domain text,
  model text NOT NULL,
  bins smallint[] NOT NULL,
  bin_counts integer[] NOT NULL
);

-- The trailing windows: whole days, and whole hours with their minutes. A refresh reads the days, the hours of the two
-- days and the minutes of the two hours in which a window begins. kind is 'domain' or 'model'.
CREATE TABLE @schema@.chat_telemetry_window_days (
  kind text NOT NULL,
  start timestamptz NOT NULL,
  name text NOT NULL,
  requests bigint NOT NULL,
  cost_micros bigint NOT NULL,
  PRIMARY KEY (kind, start, name)
) WITH (fillfactor = 60);

CREATE TABLE @schema@.chat_telemetry_window_hours (
  kind text NOT NULL,
  start timestamptz NOT NULL,
  name text NOT NULL,
  requests bigint NOT NULL,
  cost_micros bigint NOT NULL,
  -- minute_requests[i] and minute_costs[i] belong to minute minutes[i] of the hour; a minute may come more than once.
  minutes smallint[] NOT NULL,
  minute_requests bigint[] NOT NULL,
  minute_costs bigint[] NOT NULL,
  PRIMARY KEY (kind, start, name)
) WITH (fillfactor = 60);

-- One row: how many events were ever folded, and how many sketches of days wait to be settled.
CREATE TABLE @schema@.chat_telemetry_fold_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  folded_events bigint NOT NULL DEFAULT 0,
  folded_at timestamptz,
  day_sketch_deltas bigint NOT NULL DEFAULT 0
);
INSERT INTO @schema@.chat_telemetry_fold_state DEFAULT VALUES;

-- One row for each view: its last refresh that succeeded. It shows the events folded when its transaction began.
CREATE TABLE @schema@.chat_telemetry_refresh_state (
  view_name text PRIMARY KEY,
  refreshed_at timestamptz,
  finished_at timestamptz,
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
