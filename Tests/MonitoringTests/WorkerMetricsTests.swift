import Logging
import TestSupport
import Testing

@testable import Monitoring

/// The names, types and labels that dashboards hang on, as the project documents them.
private let documented: [(name: String, type: String, labels: Set<String>)] = [
  ("consumer_lag_records", "gauge", ["topic", "partition"]),
  ("consumer_lag_seconds", "gauge", ["topic", "partition"]),
  ("consumer_committed_offset", "gauge", ["topic", "partition"]),
  ("consumer_high_watermark_offset", "gauge", ["topic", "partition"]),
  ("consumer_assigned_partitions", "gauge", []),
  ("consumer_rebalances_total", "counter", ["event"]),
  ("offset_gap_records_total", "counter", []),
  ("records_consumed_total", "counter", ["topic"]),
  ("record_bytes_consumed_total", "counter", ["topic"]),
  ("events_processed_total", "counter", ["topic", "outcome"]),
  ("dead_letters_total", "counter", ["topic", "reason"]),
  ("dead_letter_copies_total", "counter", ["result"]),
  ("event_repairs_total", "counter", ["kind"]),
  ("end_to_end_latency_seconds", "histogram", []),
  ("batch_write_duration_seconds", "histogram", ["stage"]),
  ("batch_events", "histogram", []),
  ("buffer_events", "gauge", []),
  ("buffer_bytes", "gauge", []),
  ("last_committed_event_timestamp_seconds", "gauge", []),
  ("db_errors_total", "counter", ["sqlstate_class", "action"]),
  ("db_retries_total", "counter", []),
  ("refresh_duration_seconds", "histogram", ["view"]),
  ("refreshes_total", "counter", ["view", "trigger", "result"]),
  ("last_successful_refresh_timestamp_seconds", "gauge", ["view"]),
  ("refresh_pending_events", "gauge", []),
  ("coordinator_leader", "gauge", []),
  ("backfill_remaining_records", "gauge", ["job"]),
  ("retention_dropped_total", "counter", ["kind"]),
  ("retention_delays_total", "counter", ["kind"]),
  ("backfill_out_of_range_records_total", "counter", ["job"]),
  ("build_info", "gauge", ["version"]),
]

private let prefix = "telemetry_worker_"

/// A worker's observer whose log lines are kept.
private struct Observed {
  let log = LogRecorder()
  let observer: Observer

  init() {
    let log = log
    observer = Observer(metrics: WorkerMetrics(version: "1.2.3"), logger: log.logger(level: .debug))
  }

  func value(_ name: String, _ labels: [String: String] = [:]) throws -> Double? {
    try ExpositionParser(observer.metrics.registry.render()).value(prefix + name, labels)
  }
}

@Suite("The worker's metrics and events")
struct WorkerMetricsTests {
  private let p0 = PartitionLabel(topic: "t", partition: 0)
  private let p1 = PartitionLabel(topic: "t", partition: 1)

  /// One event of every kind, so that every family has a series.
  private func emitEverything(_ observer: Observer) {
    observer.emit(.assigned([p0, p1]))
    observer.emit(.consumed(topic: "t", records: 10, bytes: 4_000))
    observer.emit(.progress(p0, committed: 5, highWatermark: 9, lagSeconds: 1.5))
    observer.emit(.offsetGap(p1, from: 3, to: 10))
    observer.emit(
      .batchCommitted(
        CommittedBatch(
          outcomes: ["t": OutcomeCounts(stored: 4, duplicate: 3, deadLetter: 2, skipped: 1)], bytes: 4_000,
          stageSeconds: [.copy: 0.2, .total: 0.5], eventTimes: [1_000_000, 3_500_000], committedAt: 4_000_000)
      ))
    observer.emit(.deadLetters(topic: "t", reason: "invalid_json", count: 2, sample: "not an object"))
    observer.emit(.deadLettersCopied(count: 2))
    observer.emit(.deadLettersNotCopied(count: 5, topic: "dlq", reason: "away", retryInSeconds: 0.5))
    observer.emit(.repairs(kind: "missing_id", count: 3))
    observer.emit(.buffered(events: 7, bytes: 2_800))
    observer.emit(
      .failed(sqlstate: "40001", action: .retry, doing: "batch", message: "again", retryInSeconds: 0.5))
    observer.emit(
      .finished(
        view: "v", cause: .schedule, seconds: 0.2, rows: 5, events: 100, finishedAt: 9_250_000, error: nil))
    observer.emit(.pending(events: 12))
    observer.emit(.leadership(true, why: "the lease was free"))
    observer.emit(.backfillProgress(job: "j", remaining: 40))
    observer.emit(.dropped(.raw, day: "2026-03-01", rows: 900, wholeDay: 900))
    observer.emit(.dropped(.hour, day: "2026-03-01", rows: 80, wholeDay: nil))
    observer.emit(.deadLettersDeleted(resolved: 2, unresolved: 3))
    observer.emit(.refreshLogTrimmed(rows: 6))
    observer.emit(.delayed(.day, reason: "somebody reads", retryInSeconds: 2))
    observer.emit(.backfillPassed(job: "j", outOfRange: 7))
  }

  @Test("every documented metric is exposed with its type and labels, and nothing else is")
  func contract() throws {
    let observed = Observed()
    emitEverything(observed.observer)
    let families = try ExpositionParser(observed.observer.metrics.registry.render()).families
    #expect(Set(families.keys) == Set(documented.map { prefix + $0.name }))
    for metric in documented {
      let family = try #require(families[prefix + metric.name])
      #expect(family.type == metric.type, "\(metric.name)")
      #expect(!family.help.isEmpty, "\(metric.name)")
      let sample = try #require(family.samples.first, "\(metric.name)")
      #expect(Set(sample.labels.keys).subtracting(["le"]) == metric.labels, "\(metric.name)")
    }
  }

  @Test("names follow Prometheus' conventions: counters alone end in _total, and units are base units")
  func naming() {
    for (name, type, _) in documented {
      #expect(name.hasSuffix("_total") == (type == "counter"), "\(name)")
      for unit in ["_ms", "_milliseconds", "_kb", "_minutes", "_percent"] {
        #expect(!name.contains(unit), "\(name)")
      }
    }
  }

  @Test("each event changes exactly its own series")
  func values() throws {
    let observed = Observed()
    emitEverything(observed.observer)
    let expected: [(String, [String: String], Double)] = [
      ("consumer_assigned_partitions", [:], 2),
      ("consumer_rebalances_total", ["event": "assigned"], 1),
      ("consumer_rebalances_total", ["event": "revoked"], 0),
      ("records_consumed_total", ["topic": "t"], 10),
      ("record_bytes_consumed_total", ["topic": "t"], 4_000),
      ("consumer_lag_records", ["topic": "t", "partition": "0"], 4),
      ("consumer_lag_seconds", ["topic": "t", "partition": "0"], 1.5),
      ("offset_gap_records_total", [:], 7),
      ("events_processed_total", ["topic": "t", "outcome": "stored"], 4),
      ("events_processed_total", ["topic": "t", "outcome": "duplicate"], 3),
      ("events_processed_total", ["topic": "t", "outcome": "dead_letter"], 2),
      ("events_processed_total", ["topic": "t", "outcome": "skipped"], 1),
      ("batch_events_sum", [:], 10),
      ("batch_write_duration_seconds_sum", ["stage": "copy"], 0.2),
      ("end_to_end_latency_seconds_sum", [:], 3.5),
      ("end_to_end_latency_seconds_count", [:], 2),
      ("last_committed_event_timestamp_seconds", [:], 3.5),
      ("dead_letters_total", ["topic": "t", "reason": "invalid_json"], 2),
      ("dead_letter_copies_total", ["result": "delivered"], 2),
      ("dead_letter_copies_total", ["result": "failed"], 5),
      ("event_repairs_total", ["kind": "missing_id"], 3),
      ("buffer_events", [:], 7), ("buffer_bytes", [:], 2_800),
      ("db_errors_total", ["sqlstate_class": "40", "action": "retry"], 1),
      ("db_retries_total", [:], 1),
      ("refreshes_total", ["view": "v", "trigger": "schedule", "result": "success"], 1),
      ("refresh_duration_seconds_count", ["view": "v"], 1),
      ("last_successful_refresh_timestamp_seconds", ["view": "v"], 9.25),
      ("refresh_pending_events", [:], 12), ("coordinator_leader", [:], 1),
      ("backfill_remaining_records", ["job": "j"], 40),
      ("retention_dropped_total", ["kind": "raw"], 900), ("retention_dropped_total", ["kind": "hour"], 80),
      ("retention_dropped_total", ["kind": "day"], 0),
      ("retention_dropped_total", ["kind": "dead_letter"], 5),
      ("retention_dropped_total", ["kind": "refresh_log"], 6), ("retention_delays_total", ["kind": "day"], 1),
      ("backfill_out_of_range_records_total", ["job": "j"], 7),
      ("build_info", ["version": "1.2.3"], 1),
    ]
    for (name, labels, value) in expected {
      #expect(try observed.value(name, labels) == value, "\(name)\(labels)")
    }
  }

  @Test("a revoked partition leaves no series, and a late report does not bring it back")
  func revokedPartitions() throws {
    let observed = Observed()
    let observer = observed.observer
    observer.emit(.assigned([p0, p1]))
    for partition in [p0, p1] {
      observer.emit(.progress(partition, committed: 1, highWatermark: 2, lagSeconds: 1))
    }
    observer.emit(.revoked([p0], lost: false))
    observer.emit(.progress(p0, committed: 2, highWatermark: 2, lagSeconds: 0))
    let text = observer.metrics.registry.render()
    #expect(!text.contains("partition=\"0\""))
    #expect(text.contains("consumer_lag_records{topic=\"t\",partition=\"1\"} 1"))
    #expect(try observed.value("consumer_assigned_partitions") == 1)
    observer.emit(.revoked([p1], lost: true))
    #expect(try observed.value("consumer_rebalances_total", ["event": "lost"]) == 1)
    #expect(!observer.metrics.registry.render().contains("partition="))
  }

  @Test("lag is never negative, whatever order the position and the end arrive in")
  func lagIsClamped() throws {
    let observed = Observed()
    observed.observer.emit(.assigned([p0]))
    observed.observer.emit(.progress(p0, committed: 12, highWatermark: 10, lagSeconds: -3))
    let labels = ["topic": "t", "partition": "0"]
    #expect(try observed.value("consumer_lag_records", labels) == 0)
    #expect(try observed.value("consumer_lag_seconds", labels) == 0)
  }

  @Test("an old event does not move the newest committed event time back")
  func newestEventTime() throws {
    let observed = Observed()
    for time in [5_000_000, 2_000_000] as [Int64] {
      observed.observer.emit(
        .batchCommitted(
          CommittedBatch(
            outcomes: [:], bytes: 0, stageSeconds: [:], eventTimes: [time], committedAt: 6_000_000)))
    }
    #expect(try observed.value("last_committed_event_timestamp_seconds") == 5)
  }

  @Test("a failed refresh counts as an error and leaves the time of the last success alone")
  func failedRefresh() throws {
    let observed = Observed()
    observed.observer.emit(.lastSuccess(view: "v", finishedAt: 1_000_000))
    observed.observer.emit(
      .finished(
        view: "v", cause: .threshold, seconds: 1, rows: nil, events: 0, finishedAt: 9_000_000,
        error: "disk full"))
    #expect(try observed.value("last_successful_refresh_timestamp_seconds", ["view": "v"]) == 1)
    #expect(
      try observed.value("refreshes_total", ["view": "v", "trigger": "threshold", "result": "error"]) == 1)
    #expect(observed.log.lines.last?.contains("ERROR view not refreshed") == true)
    #expect(observed.log.lines.last?.contains("reason=\"disk full\"") == true)
  }

  @Test("the log line of an event carries the numbers its metric shows")
  func logAndMetricAgree() throws {
    let observed = Observed()
    observed.observer.emit(.offsetGap(p1, from: 3, to: 10))
    let line = try #require(observed.log.lines.last)
    #expect(line.contains("WARN ") && line.contains("records=7") && line.contains("partition=1"))
    #expect(try observed.value("offset_gap_records_total") == 7)

    observed.observer.emit(
      .failed(sqlstate: nil, action: .retry, doing: "connect", message: "refused", retryInSeconds: 2))
    #expect(observed.log.lines.last?.contains("retry_in_seconds=2.0") == true)
    #expect(
      try observed.value("db_errors_total", ["sqlstate_class": "connection", "action": "retry"]) == 1)
    #expect(try observed.value("db_retries_total") == 1)
  }

  @Test("an error that is not tried again counts no retry")
  func noRetry() throws {
    let observed = Observed()
    observed.observer.emit(
      .failed(sqlstate: "22003", action: .deadLetter, doing: "copy", message: "m", retryInSeconds: nil))
    #expect(try observed.value("db_retries_total") == 0)
    #expect(try observed.value("db_errors_total", ["sqlstate_class": "22", "action": "dead_letter"]) == 1)
  }

  @Test("declared series stand at zero before anything happened")
  func declared() throws {
    let observed = Observed()
    observed.observer.metrics.declare(
      topics: ["t"], deadLetterReasons: ["too_long"], repairKinds: ["missing_id"], views: ["v"])
    #expect(try observed.value("events_processed_total", ["topic": "t", "outcome": "stored"]) == 0)
    #expect(try observed.value("dead_letters_total", ["topic": "t", "reason": "too_long"]) == 0)
    #expect(try observed.value("event_repairs_total", ["kind": "missing_id"]) == 0)
    #expect(
      try observed.value("refreshes_total", ["view": "v", "trigger": "backfill", "result": "error"]) == 0)
  }

  @Test("partitions are listed by topic, sorted and short")
  func partitionList() {
    let more = [p1, PartitionLabel(topic: "a", partition: 10), p0]
    #expect(ConsumerEvent.list(more) == "a[10] t[0 1]")
  }
}
