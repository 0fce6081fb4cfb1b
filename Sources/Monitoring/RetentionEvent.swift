import Logging

/// What retention drops.
public enum RetentionKind: String, CaseIterable, Sendable {
  /// Raw rows, a day at a time.
  case raw
  /// Rollups of hours.
  case hour
  /// Rollups of days.
  case day
  case deadLetter = "dead_letter"
  case refreshLog = "refresh_log"
}

/// What retention does.
public enum RetentionEvent: WorkerEvent, Equatable {
  /// A step deleted rows of a day (`2026-03-01`, UTC); `wholeDay` is how many all steps have deleted, once none is left.
  case dropped(RetentionKind, day: String, rows: Int64, wholeDay: Int64?)
  /// Old dead letters were deleted; nobody had looked after the unresolved ones.
  case deadLettersDeleted(resolved: Int64, unresolved: Int64)
  case refreshLogTrimmed(rows: Int64)
  /// Somebody else held a lock, and was not made to wait.
  case delayed(RetentionKind, reason: String, retryInSeconds: Double)

  func record(in metrics: WorkerMetrics) {
    let retention = metrics.retention
    switch self {
    case .dropped(let kind, _, let rows, _): retention.dropped.series(kind.rawValue).add(Int(rows))
    case .deadLettersDeleted(let resolved, let unresolved):
      retention.dropped.series(RetentionKind.deadLetter.rawValue).add(Int(resolved + unresolved))
    case .refreshLogTrimmed(let rows):
      retention.dropped.series(RetentionKind.refreshLog.rawValue).add(Int(rows))
    case .delayed(let kind, _, _): retention.delays.series(kind.rawValue).add()
    }
  }

  func log(to logger: Logger) {
    switch self {
    case .dropped(let kind, let day, let rows, let wholeDay):
      logger.log(
        level: wholeDay == nil ? .debug : .info,
        wholeDay == nil ? "old rows of a day dropped" : "a day's old rows are dropped",
        metadata: [
          "kind": .string(kind.rawValue), "day": .string(day), "rows": .number(wholeDay ?? rows),
        ])
    case .deadLettersDeleted(let resolved, let unresolved):
      logger.log(
        level: unresolved > 0 ? .warning : .info, "old dead letters deleted",
        metadata: ["resolved": .number(resolved), "unresolved": .number(unresolved)])
    case .refreshLogTrimmed(let rows):
      logger.info("refresh log trimmed", metadata: ["rows": .number(rows)])
    case .delayed(let kind, let reason, let retryInSeconds):
      logger.info(
        "retention waits for others",
        metadata: [
          "kind": .string(kind.rawValue), "reason": .string(reason),
          "retry_in_seconds": .seconds(retryInSeconds),
        ])
    }
  }
}
