import Logging

/// What happens between the worker and Postgres.
public enum DatabaseEvent: WorkerEvent, Equatable {
  /// The server or the connection reported an error. `sqlstate` is nil when the connection itself failed;
  /// `retryInSeconds` says that the work is tried again then. `message` must hold no secret and no payload.
  case failed(
    sqlstate: String?, action: DatabaseErrorAction, doing: String, message: String, retryInSeconds: Double?)
  /// Work goes on after `attempts` failures that lasted `seconds`.
  case recovered(doing: String, attempts: Int, seconds: Double)
  /// A backend that waited for its stalled client while it held a lock was ended.
  case blockerEnded(pid: Int, heldSeconds: Double)

  /// The first two characters of the SQLSTATE, or `connection`: a label of few values.
  static func sqlstateClass(of sqlstate: String?) -> String {
    guard let sqlstate, sqlstate.utf8.count == 5 else { return "connection" }
    return String(sqlstate.prefix(2))
  }

  func record(in metrics: WorkerMetrics) {
    guard case .failed(let sqlstate, let action, _, _, let retryInSeconds) = self else { return }
    metrics.ingest.databaseErrors.series(Self.sqlstateClass(of: sqlstate), action.rawValue).add()
    if retryInSeconds != nil { metrics.ingest.databaseRetries.add() }
  }

  func log(to logger: Logger) {
    switch self {
    case .failed(let sqlstate, let action, let doing, let message, let retryInSeconds):
      var metadata: Logger.Metadata = [
        "doing": .string(doing), "action": .string(action.rawValue), "reason": .string(message),
      ]
      metadata["sqlstate"] = sqlstate.map { .string($0) }
      metadata["retry_in_seconds"] = retryInSeconds.map { .seconds($0) }
      logger.log(level: action == .pause ? .error : .warning, "database error", metadata: metadata)
    case .recovered(let doing, let attempts, let seconds):
      logger.info(
        "database work goes on",
        metadata: ["doing": .string(doing), "attempts": .number(attempts), "seconds": .seconds(seconds)])
    case .blockerEnded(let pid, let heldSeconds):
      logger.warning(
        "ended a stalled worker's backend that held a lock",
        metadata: ["pid": .number(pid), "held_seconds": .seconds(heldSeconds)])
    }
  }
}
