import Synchronization

/// A Kafka partition as a metric's labels name it.
public struct PartitionLabel: Hashable, Sendable {
  public var topic: String
  public var partition: Int32

  public init(topic: String, partition: Int32) {
    self.topic = topic
    self.partition = partition
  }
}

/// Every metric of the worker: the names, labels and units that dashboards and alerts hang on. Safe on any
/// thread.
///
/// The metrics change through the events given to ``Observer``; the series are here for tests and for the few
/// places that keep one for speed.
public struct WorkerMetrics: Sendable {
  public let registry: MetricsRegistry
  public let consumer: ConsumerMetrics
  public let ingest: IngestMetrics
  public let refresh: RefreshMetrics
  public let retention: RetentionMetrics

  /// - Parameter version: the program's version, shown by `build_info`.
  public init(version: String) {
    registry = MetricsRegistry(prefix: "telemetry_worker_")
    consumer = ConsumerMetrics(registry)
    ingest = IngestMetrics(registry)
    refresh = RefreshMetrics(registry)
    retention = RetentionMetrics(registry)
    registry.gauges("build_info", help: "The version that runs; always 1.", labels: ["version"])
      .series(version).set(1)
  }

  /// Makes the series that are known beforehand, at zero, so that a rate has a start and an alert never finds
  /// a metric absent only because nothing happened yet.
  public func declare(topics: [String], deadLetterReasons: [String], repairKinds: [String], views: [String]) {
    for topic in topics {
      consumer.records.series(topic)
      consumer.recordBytes.series(topic)
      for outcome in EventOutcome.allCases { ingest.events.series(topic, outcome.rawValue) }
      for reason in deadLetterReasons { ingest.deadLetters.series(topic, reason) }
    }
    for kind in repairKinds { ingest.repairs.series(kind) }
    for view in views {
      refresh.duration.series(view)
      for trigger in RefreshCause.allCases {
        for result in RefreshResult.allCases {
          refresh.refreshes.series(view, trigger.rawValue, result.rawValue)
        }
      }
    }
  }
}

/// What the Kafka side shows.
public struct ConsumerMetrics: Sendable {
  public let lagRecords: MetricFamily<Gauge>
  public let lagSeconds: MetricFamily<Gauge>
  public let committedOffset: MetricFamily<Gauge>
  public let highWatermark: MetricFamily<Gauge>
  public let assignedPartitions: Gauge
  public let rebalances: MetricFamily<Counter>
  public let offsetGapRecords: Counter
  public let records: MetricFamily<Counter>
  public let recordBytes: MetricFamily<Counter>
  /// The partitions held now. A report about another comes late, and must not bring its series back.
  private let assigned = AssignedPartitions()

  init(_ registry: MetricsRegistry) {
    let byPartition = ["topic", "partition"]
    lagRecords = registry.gauges(
      "consumer_lag_records", help: "Records between the committed position and the end of the partition.",
      labels: byPartition)
    lagSeconds = registry.gauges(
      "consumer_lag_seconds",
      help: "Age of the oldest record not committed, an upper bound while it was not read; 0 at the end.",
      labels: byPartition)
    committedOffset = registry.gauges(
      "consumer_committed_offset", help: "The next offset to store, as committed in Postgres.",
      labels: byPartition)
    highWatermark = registry.gauges(
      "consumer_high_watermark_offset", help: "The end of the partition on the broker.", labels: byPartition)
    assignedPartitions = registry.gauge(
      "consumer_assigned_partitions", help: "Partitions this worker holds.")
    rebalances = registry.counters(
      "consumer_rebalances_total", help: "Assignments and revocations of partitions.", labels: ["event"])
    offsetGapRecords = registry.counter(
      "offset_gap_records_total", help: "Records the broker had deleted before they were read.")
    records = registry.counters(
      "records_consumed_total", help: "Records read from Kafka, redelivered ones too.", labels: ["topic"])
    recordBytes = registry.counters(
      "record_bytes_consumed_total", help: "Bytes of the values read from Kafka.", labels: ["topic"])
    for event in RebalanceKind.allCases { rebalances.series(event.rawValue) }
  }

  func assign(_ partitions: [PartitionLabel]) {
    assigned.update {
      $0.formUnion(partitions)
    } then: {
      assignedPartitions.set($0.count)
    }
  }

  func revoke(_ partitions: [PartitionLabel]) {
    assigned.update {
      $0.subtract(partitions)
    } then: {
      assignedPartitions.set($0.count)
      for partition in partitions {
        for family in [lagRecords, lagSeconds, committedOffset, highWatermark] {
          family.remove(partition.topic, String(partition.partition))
        }
      }
    }
  }

  /// Shows where a partition stands; what is nil stays as it was. A partition not held is ignored.
  func progress(
    of partition: PartitionLabel, committed: Int64?, highWatermark end: Int64?, lagSeconds seconds: Double?
  ) {
    assigned.ifHeld(partition) {
      let labels = (partition.topic, String(partition.partition))
      if let committed { committedOffset.series(labels.0, labels.1).set(Int(committed)) }
      if let end { highWatermark.series(labels.0, labels.1).set(Int(end)) }
      if let committed, let end {
        lagRecords.series(labels.0, labels.1).set(Int(max(0, end - committed)))
      }
      if let seconds { lagSeconds.series(labels.0, labels.1).set(max(0, seconds)) }
    }
  }
}

/// The partitions held, changed and asked under one lock, so that a late report and a revocation have an
/// order.
private final class AssignedPartitions: Sendable {
  private let held = Mutex<Set<PartitionLabel>>([])

  func update(_ change: (inout Set<PartitionLabel>) -> Void, then publish: (Set<PartitionLabel>) -> Void) {
    held.withLock { held in
      change(&held)
      publish(held)
    }
  }

  func ifHeld(_ partition: PartitionLabel, _ body: () -> Void) {
    held.withLock { if $0.contains(partition) { body() } }
  }
}

/// What becomes of the events, and what the database says.
public struct IngestMetrics: Sendable {
  public let events: MetricFamily<Counter>
  public let deadLetters: MetricFamily<Counter>
  public let deadLetterCopies: MetricFamily<Counter>
  public let repairs: MetricFamily<Counter>
  public let endToEndLatency: Histogram
  public let batchWriteDuration: MetricFamily<Histogram>
  public let batchEvents: Histogram
  public let bufferEvents: Gauge
  public let bufferBytes: Gauge
  public let lastCommittedEventTimestamp: Gauge
  public let databaseErrors: MetricFamily<Counter>
  public let databaseRetries: Counter

  init(_ registry: MetricsRegistry) {
    events = registry.counters(
      "events_processed_total", help: "Records whose outcome is committed, by outcome.",
      labels: ["topic", "outcome"])
    deadLetters = registry.counters(
      "dead_letters_total", help: "Records kept as dead letters, by reason.", labels: ["topic", "reason"])
    deadLetterCopies = registry.counters(
      "dead_letter_copies_total", help: "Dead letters copied to their topic, each attempt by its result.",
      labels: ["result"])
    repairs = registry.counters(
      "event_repairs_total", help: "Values mended in events that were stored all the same.", labels: ["kind"])
    endToEndLatency = registry.histogram(
      "end_to_end_latency_seconds", help: "From an event's own time to its commit in Postgres.",
      bounds: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 21_600, 86_400])
    batchWriteDuration = registry.histograms(
      "batch_write_duration_seconds", help: "Time to store a batch, by stage.", labels: ["stage"],
      bounds: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
    batchEvents = registry.histogram(
      "batch_events", help: "Events in a committed batch.",
      bounds: [1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000])
    bufferEvents = registry.gauge("buffer_events", help: "Events read and not yet committed.")
    bufferBytes = registry.gauge("buffer_bytes", help: "Bytes read and not yet committed.")
    lastCommittedEventTimestamp = registry.gauge(
      "last_committed_event_timestamp_seconds", help: "Newest event time committed, since the Unix epoch.")
    databaseErrors = registry.counters(
      "db_errors_total", help: "Database errors by SQLSTATE class and what was done about them.",
      labels: ["sqlstate_class", "action"])
    databaseRetries = registry.counter("db_retries_total", help: "Attempts repeated after a database error.")
    for result in CopyResult.allCases { deadLetterCopies.series(result.rawValue) }
  }
}

/// What the coordinator and backfills show.
public struct RefreshMetrics: Sendable {
  public let duration: MetricFamily<Histogram>
  public let refreshes: MetricFamily<Counter>
  public let lastSuccessTimestamp: MetricFamily<Gauge>
  public let pendingEvents: Gauge
  public let coordinatorLeader: Gauge
  public let backfillRemaining: MetricFamily<Gauge>
  public let backfillOutOfRange: MetricFamily<Counter>

  init(_ registry: MetricsRegistry) {
    duration = registry.histograms(
      "refresh_duration_seconds", help: "Time to refresh a view.", labels: ["view"],
      bounds: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300])
    refreshes = registry.counters(
      "refreshes_total", help: "Refreshes of a view, by trigger and result.",
      labels: ["view", "trigger", "result"])
    lastSuccessTimestamp = registry.gauges(
      "last_successful_refresh_timestamp_seconds",
      help: "End of the last refresh that succeeded, since the Unix epoch.", labels: ["view"])
    pendingEvents = registry.gauge(
      "refresh_pending_events", help: "Events stored since the last refresh, by all workers.")
    coordinatorLeader = registry.gauge(
      "coordinator_leader", help: "1 on the worker that coordinates, 0 on the others.")
    backfillRemaining = registry.gauges(
      "backfill_remaining_records", help: "Records a backfill has yet to read.", labels: ["job"])
    backfillOutOfRange = registry.counters(
      "backfill_out_of_range_records_total",
      help: "Records a backfill read and passed over for their timestamps.", labels: ["job"])
  }
}

/// What the coordinator's retention shows.
public struct RetentionMetrics: Sendable {
  public let dropped: MetricFamily<Counter>
  public let delays: MetricFamily<Counter>

  init(_ registry: MetricsRegistry) {
    dropped = registry.counters(
      "retention_dropped_total", help: "Rows that retention deleted, by kind.", labels: ["kind"])
    delays = registry.counters(
      "retention_delays_total", help: "Attempts of retention put off because somebody else held a lock.",
      labels: ["kind"])
    for kind in RetentionKind.allCases {
      dropped.series(kind.rawValue)
      delays.series(kind.rawValue)
    }
  }
}
