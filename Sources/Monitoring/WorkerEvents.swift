import Logging

/// What became of a record.
public enum EventOutcome: String, CaseIterable, Sendable {
  case stored
  case duplicate
  case deadLetter = "dead_letter"
  case skipped
}

/// How a partition came or went.
public enum RebalanceKind: String, CaseIterable, Sendable {
  case assigned
  case revoked
  /// Taken away without being asked back: the membership had expired.
  case lost
}

/// What is done about a database error.
public enum DatabaseErrorAction: String, CaseIterable, Sendable {
  /// The same work is tried again after a while.
  case retry
  /// The rows at fault are narrowed down and become dead letters.
  case deadLetter = "dead_letter"
  /// Work stops until someone mends what is named.
  case pause
  /// The batch is given up and its positions are read again: another worker was ahead.
  case discard
}

/// Why a refresh ran.
public enum RefreshCause: String, CaseIterable, Sendable {
  case schedule, threshold, manual, backfill
}

/// How a refresh ended.
public enum RefreshResult: String, CaseIterable, Sendable {
  case success, error
}

/// Something that happened in the worker: one value gives both the log line and the metric, so that they
/// never disagree. Given to ``Observer/emit(_:)``.
protocol WorkerEvent: Sendable {
  func record(in metrics: WorkerMetrics)
  func log(to logger: Logger)
}

/// Takes the worker's events and makes metrics and log lines of them. Safe on any thread, and cheap to copy.
public struct Observer: Sendable {
  public let metrics: WorkerMetrics
  public let logger: Logger

  public init(metrics: WorkerMetrics, logger: Logger) {
    self.metrics = metrics
    self.logger = logger
  }

  public func emit(_ event: ConsumerEvent) { take(event) }
  public func emit(_ event: IngestEvent) { take(event) }
  public func emit(_ event: DatabaseEvent) { take(event) }
  public func emit(_ event: RefreshEvent) { take(event) }
  public func emit(_ event: RetentionEvent) { take(event) }

  private func take(_ event: some WorkerEvent) {
    event.record(in: metrics)
    event.log(to: logger)
  }
}

extension Logger.MetadataValue {
  /// A number that stays a number in JSON lines.
  static func number(_ value: some BinaryInteger & Sendable) -> Self { .stringConvertible(value) }

  /// Seconds, to the microsecond.
  static func seconds(_ value: Double) -> Self {
    .stringConvertible((value * 1_000_000).rounded() / 1_000_000)
  }
}
