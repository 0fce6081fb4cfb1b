-- Backfills: what each replays, fixed at its start, and what became of the records so far. How far one has come is in
-- chat_telemetry_offsets, under the job's consumer_group, and moves in the same transaction as everything here.

CREATE TABLE @schema@.chat_telemetry_backfill_jobs (
  job text PRIMARY KEY CHECK (job <> ''),
  consumer_group text NOT NULL UNIQUE,
  -- Grows whenever a process takes the job up; a batch of an earlier run is refused.
  run bigint NOT NULL DEFAULT 0,
  -- What was asked for, as it was given. No partitions means all that there were.
  topics text[] NOT NULL,
  partitions integer[],
  from_given text NOT NULL,
  to_given text NOT NULL,
  -- Records whose timestamp lies outside from_time <= timestamp < to_time are passed over; null has no limit.
  from_time timestamptz,
  to_time timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);

CREATE TABLE @schema@.chat_telemetry_backfill_partitions (
  job text NOT NULL REFERENCES @schema@.chat_telemetry_backfill_jobs ON DELETE CASCADE,
  topic text NOT NULL,
  partition integer NOT NULL CHECK (partition >= 0),
  start_offset bigint NOT NULL CHECK (start_offset >= 0),
  -- The first offset that is not replayed any more.
  end_offset bigint NOT NULL CHECK (end_offset >= start_offset),
  stored bigint NOT NULL DEFAULT 0,
  duplicate bigint NOT NULL DEFAULT 0,
  dead_letter bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  out_of_range bigint NOT NULL DEFAULT 0,
  -- Offsets that the broker had deleted before they were read.
  missing bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (job, topic, partition)
) WITH (fillfactor = 50);
