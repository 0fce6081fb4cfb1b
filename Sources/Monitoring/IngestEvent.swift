import Logging

/// The parts of storing a batch whose durations are shown apart.
public enum BatchStage: String, CaseIterable, Sendable {
  /// Raw rows, duplicates found on the way too.
  case copy
  /// Deltas, dead letters, offsets, lock, rollups and COMMIT.
  case commit
  /// From the hand-over to the acknowledged COMMIT, with waits and retries.
  case total
}

/// A batch whose COMMIT was acknowledged.
public struct CommittedBatch: Equatable, Sendable {
  /// What became of the batch's records, by topic.
  public var outcomes: [String: OutcomeCounts]
  /// Bytes of the record values.
  public var bytes: Int
  /// Seconds that each stage took.
  public var stageSeconds: [BatchStage: Double]
  /// The stored events' times, microseconds since the Unix epoch, in any order.
  public var eventTimes: [Int64]
  /// When the COMMIT was acknowledged, microseconds since the Unix epoch.
  public var committedAt: Int64

  public init(
    outcomes: [String: OutcomeCounts], bytes: Int, stageSeconds: [BatchStage: Double], eventTimes: [Int64],
    committedAt: Int64
  ) {
    self.outcomes = outcomes
    self.bytes = bytes
    self.stageSeconds = stageSeconds
    self.eventTimes = eventTimes
    self.committedAt = committedAt
  }

  /// Of all topics together.
  public var totals: OutcomeCounts {
    outcomes.values.reduce(into: OutcomeCounts()) { $0.add($1) }
  }
}

/// How many records ended in each way.
public struct OutcomeCounts: Equatable, Sendable {
  public var stored = 0
  public var duplicate = 0
  public var deadLetter = 0
  public var skipped = 0

  public init(stored: Int = 0, duplicate: Int = 0, deadLetter: Int = 0, skipped: Int = 0) {
    self.stored = stored
    self.duplicate = duplicate
    self.deadLetter = deadLetter
    self.skipped = skipped
  }

  public var all: Int { stored + duplicate + deadLetter + skipped }

  public subscript(outcome: EventOutcome) -> Int {
    switch outcome {
    case .stored: stored
    case .duplicate: duplicate
    case .deadLetter: deadLetter
    case .skipped: skipped
    }
  }

  public mutating func add(_ other: OutcomeCounts) {
    stored += other.stored
    duplicate += other.duplicate
    deadLetter += other.deadLetter
    skipped += other.skipped
  }
}

/// What becomes of events on their way into the tables.
public enum IngestEvent: WorkerEvent, Equatable {
  /// A batch is stored. Emit it only when its COMMIT was acknowledged: a repeat must not count twice.
  case batchCommitted(CommittedBatch)
  /// Records of a committed batch became dead letters; `sample` is one of their details.
  case deadLetters(topic: String, reason: String, count: Int, sample: String?)
  /// Dead letters were acknowledged by the brokers of their topic, before their batch was committed.
  case deadLettersCopied(count: Int)
  /// The brokers did not acknowledge dead letters; their batch waits and is tried again. `reason` must hold no payload.
  case deadLettersNotCopied(count: Int, topic: String, reason: String, retryInSeconds: Double)
  /// Values of a committed batch's events were mended.
  case repairs(kind: String, count: Int)
  /// What is read and not yet committed.
  case buffered(events: Int, bytes: Int)
  /// A batch was given up, its positions having moved on: another worker has stored its records, or will.
  case batchDiscarded(records: Int, why: String)

  func record(in metrics: WorkerMetrics) {
    let ingest = metrics.ingest
    switch self {
    case .batchCommitted(let batch): Self.record(batch, in: ingest)
    case .deadLetters(let topic, let reason, let count, _):
      ingest.deadLetters.series(topic, reason).add(count)
    case .deadLettersCopied(let count):
      ingest.deadLetterCopies.series(CopyResult.delivered.rawValue).add(count)
    case .deadLettersNotCopied(let count, _, _, _):
      ingest.deadLetterCopies.series(CopyResult.failed.rawValue).add(count)
    case .repairs(let kind, let count): ingest.repairs.series(kind).add(count)
    case .buffered(let events, let bytes):
      ingest.bufferEvents.set(events)
      ingest.bufferBytes.set(bytes)
    case .batchDiscarded: break
    }
  }

  private static func record(_ batch: CommittedBatch, in ingest: IngestMetrics) {
    for (topic, counts) in batch.outcomes {
      for outcome in EventOutcome.allCases {
        ingest.events.series(topic, outcome.rawValue).add(counts[outcome])
      }
    }
    ingest.batchEvents.observe(Double(batch.totals.all))
    for (stage, seconds) in batch.stageSeconds {
      ingest.batchWriteDuration.series(stage.rawValue).observe(seconds)
    }
    // An event from a clock ahead of ours has no negative latency.
    let latencies = batch.eventTimes.lazy.map { Double(max(0, batch.committedAt - $0)) / 1_000_000 }
    ingest.endToEndLatency.observe(contentsOf: latencies)
    if let newest = batch.eventTimes.max() {
      let shown = ingest.lastCommittedEventTimestamp
      shown.set(max(shown.value, Double(newest) / 1_000_000))
    }
  }

  func log(to logger: Logger) {
    switch self {
    case .batchCommitted(let batch):
      logger.debug("batch committed", metadata: Self.metadata(of: batch))
    case .deadLetters(let topic, let reason, let count, let sample):
      var metadata: Logger.Metadata = [
        "topic": .string(topic), "reason": .string(reason), "records": .number(count),
      ]
      metadata["sample"] = sample.map { .string($0) }
      logger.warning("records became dead letters", metadata: metadata)
    case .deadLettersCopied(let count):
      logger.debug("dead letters copied to their topic", metadata: ["records": .number(count)])
    case .deadLettersNotCopied(let count, let topic, let reason, let retryInSeconds):
      logger.error(
        "dead letters could not be copied to their topic; their batch waits",
        metadata: [
          "records": .number(count), "topic": .string(topic), "reason": .string(reason),
          "retry_in_seconds": .seconds(retryInSeconds),
        ])
    case .repairs(let kind, let count):
      logger.debug("events repaired", metadata: ["kind": .string(kind), "values": .number(count)])
    case .buffered:
      break
    case .batchDiscarded(let records, let why):
      logger.warning("batch discarded", metadata: ["records": .number(records), "reason": .string(why)])
    }
  }

  private static func metadata(of batch: CommittedBatch) -> Logger.Metadata {
    let totals = batch.totals
    var metadata: Logger.Metadata = ["records": .number(totals.all), "bytes": .number(batch.bytes)]
    for outcome in EventOutcome.allCases { metadata[outcome.rawValue] = .number(totals[outcome]) }
    for (stage, seconds) in batch.stageSeconds {
      metadata["\(stage.rawValue)_seconds"] = .seconds(seconds)
    }
    return metadata
  }
}
