import Logging

/// What the coordinator and backfills do.
public enum RefreshEvent: WorkerEvent, Equatable {
  /// A view was refreshed, or was not: `error` says why. `finishedAt` is microseconds since the Unix epoch.
  case finished(
    view: String, cause: RefreshCause, seconds: Double, rows: Int64?, events: Int64, finishedAt: Int64,
    error: String?)
  /// What the refresh log says of a view's last success, microseconds since the Unix epoch: for a fresh
  /// process.
  case lastSuccess(view: String, finishedAt: Int64)
  /// Events stored since the last refresh, by all workers.
  case pending(events: Int64)
  /// Pending deltas went into totals, sketches and day rollups.
  case folded(deltas: Int64, events: Int64, seconds: Double)
  /// This worker took over the coordination, or gave it up.
  case leadership(Bool, why: String)
  /// Records that a backfill has yet to read.
  case backfillProgress(job: String, remaining: Int64)
  /// Records of a committed batch that were stamped outside the times a backfill replays.
  case backfillPassed(job: String, outOfRange: Int)
  /// The backfill is over; its series ends.
  case backfillFinished(job: String)

  func record(in metrics: WorkerMetrics) {
    let refresh = metrics.refresh
    switch self {
    case .finished(let view, let cause, let seconds, _, _, let finishedAt, let error):
      let result: RefreshResult = error == nil ? .success : .error
      refresh.refreshes.series(view, cause.rawValue, result.rawValue).add()
      refresh.duration.series(view).observe(seconds)
      if error == nil { Self.record(success: view, finishedAt, in: refresh) }
    case .lastSuccess(let view, let finishedAt): Self.record(success: view, finishedAt, in: refresh)
    case .pending(let events): refresh.pendingEvents.set(Int(max(0, events)))
    case .folded: break
    case .leadership(let leads, _): refresh.coordinatorLeader.set(leads ? 1 : 0)
    case .backfillProgress(let job, let remaining):
      refresh.backfillRemaining.series(job).set(Int(max(0, remaining)))
    case .backfillPassed(let job, let records): refresh.backfillOutOfRange.series(job).add(records)
    case .backfillFinished(let job): refresh.backfillRemaining.remove(job)
    }
  }

  private static func record(success view: String, _ finishedAt: Int64, in refresh: RefreshMetrics) {
    refresh.lastSuccessTimestamp.series(view).set(Double(finishedAt) / 1_000_000)
  }

  func log(to logger: Logger) {
    switch self {
    case .finished(let view, let cause, let seconds, let rows, let events, _, let error):
      var metadata: Logger.Metadata = [
        "view": .string(view), "trigger": .string(cause.rawValue), "seconds": .seconds(seconds),
        "events": .number(events),
      ]
      metadata["rows"] = rows.map { .number($0) }
      metadata["reason"] = error.map { .string($0) }
      logger.log(
        level: error == nil ? .info : .error, error == nil ? "view refreshed" : "view not refreshed",
        metadata: metadata)
    case .lastSuccess, .pending, .backfillProgress, .backfillPassed:
      break
    case .folded(let deltas, let events, let seconds):
      logger.debug(
        "deltas folded",
        metadata: ["deltas": .number(deltas), "events": .number(events), "seconds": .seconds(seconds)])
    case .leadership(let leads, let why):
      logger.info(
        leads ? "coordination taken over" : "coordination given up", metadata: ["reason": .string(why)])
    case .backfillFinished(let job):
      logger.info("backfill finished", metadata: ["job": .string(job)])
    }
  }
}
