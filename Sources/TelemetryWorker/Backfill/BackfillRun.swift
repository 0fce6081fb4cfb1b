import Foundation
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry

/// A backfill at work, from its first record to the refresh at its end.
struct BackfillRun {
  let settings: Settings
  let job: BackfillJob
  let claim: BackfillClaim
  let parallel: Int
  let rate: Int?
  /// Nil is no server: a live worker on the same host has the usual port.
  let httpPort: UInt16?

  /// Works until all is done or a signal comes.
  func run(_ signals: StopSignals) async throws -> BackfillReport {
    let logger = settings.logger()
    let metrics = WorkerMetrics(version: TelemetryWorker.version)
    metrics.declare(
      topics: job.request.topics, deadLetterReasons: RejectionReason.allCases.map(\.rawValue),
      repairKinds: RepairKind.allCases.map(\.rawValue), views: SummaryView.allCases.map(\.rawValue))
    let health = HealthState(awaiting: ["kafka", "postgres"])
    let observer = Observer(metrics: metrics, logger: logger)
    let server = httpPort.map {
      MonitoringServer(
        host: settings.http.host, port: $0, title: "telemetry-worker backfill \(job.name)",
        metrics: metrics.registry, health: health, logger: logger)
    }
    try await server?.start()
    let replay = Replay(
      job, claim: claim, settings: try settings.ingestSettings(), parallel: parallel, rate: rate,
      observer: observer, health: health)
    let result = await Self.result { try await work(replay, signals, observer) }
    await server?.stop()
    return try result.get()
  }

  private func work(
    _ replay: Replay, _ signals: StopSignals, _ observer: Observer
  ) async throws -> BackfillReport {
    let logger = observer.logger
    logger.info(
      "backfill starts",
      metadata: [
        "job": "\(job.name)", "records": "\(job.remaining)", "partitions": "\(job.partitions.count)",
        "from": "\(job.request.from)", "to": "\(job.request.to)",
      ])
    let deadlineSeconds = settings.ingest.shutdownDeadlineSeconds
    let obeying = Task {
      await signals.obey(deadlineSeconds: deadlineSeconds, lateCode: Exit.stopped, logger: logger) {
        replay.stop()
      }
    }
    let display = BackfillDisplay(job: job, progress: replay.progress, observer: observer)
    let showing = Task { await display.run() }
    let result = await Self.result { try await replay.run() }
    showing.cancel()
    await showing.value
    obeying.cancel()
    try result.get()
    return try end(observer)
  }

  /// Looks how far the job has come, and completes it if nothing is left. On a connection of its own: one from the
  /// beginning may have been idle for hours.
  private func end(_ observer: Observer) throws -> BackfillReport {
    let connection = try Connection(settings.connectionOptions)
    let schema = try settings.storeSchema()
    let jobs = BackfillJobs(connection: connection, schema: schema)
    let state = try jobs.load(job.name) ?? job
    guard state.remaining == 0 else { return BackfillReport(state, .stopped) }
    // Before the job is marked as done: who is interrupted here comes here again.
    try refresh(Summaries(connection: connection, schema: schema), observer)
    try jobs.finish(claim)
    observer.emit(RefreshEvent.backfillFinished(job: job.name))
    return BackfillReport(try jobs.load(job.name) ?? state, .finished)
  }

  private func refresh(_ summaries: Summaries, _ observer: Observer) throws {
    let pending = try summaries.state().views
    let outcomes = try summaries.refresh(nil, cause: RefreshCause.backfill.rawValue)
    for outcome in outcomes {
      observer.emit(
        RefreshEvent.finished(
          view: outcome.view.rawValue, cause: .backfill, seconds: outcome.milliseconds / 1_000, rows: nil,
          events: pending.first { $0.view == outcome.view }?.pendingEvents ?? 0, finishedAt: WallClock.now(),
          error: outcome.error))
    }
    let failed = outcomes.filter { $0.error != nil }.map(\.view.rawValue)
    guard failed.isEmpty else {
      throw CommandFailure(
        "backfill: every record is stored, but \(failed.joined(separator: " and ")) could not be refreshed: "
          + "run the same command again")
    }
  }

  private static func result<Value: Sendable>(
    _ work: () async throws -> Value
  ) async -> Result<Value, any Error> {
    do { return .success(try await work()) } catch { return .failure(error) }
  }
}

/// Shows how far a backfill has come: a line that changes on a terminal, log lines elsewhere, and the metric.
struct BackfillDisplay {
  let job: BackfillJob
  let progress: ReplayProgress
  let observer: Observer

  /// Seconds between two log lines.
  private static let roundsBetweenLines = 10

  /// Shows until the task is cancelled.
  func run() async {
    let isTerminal = isatty(STDERR_FILENO) == 1
    let total = job.partitions.reduce(0) { $0 + $1.end - $1.start }
    let meter = BackfillMeter(total: total, remaining: job.remaining, nowMs: WallClock.now() / 1_000)
    var round = 0
    repeat {
      let remaining = progress.remaining
      observer.emit(RefreshEvent.backfillProgress(job: job.name, remaining: remaining))
      let reading = meter.read(remaining: remaining, nowMs: WallClock.now() / 1_000)
      if isTerminal {
        Console.status(reading.line(job: job.name))
      } else if round > 0 && round % Self.roundsBetweenLines == 0 {
        log(reading)
      }
      round += 1
      try? await Task.sleep(for: .seconds(1))
    } while !Task.isCancelled
    if isTerminal { Console.status("") }
  }

  private func log(_ reading: BackfillMeter.Reading) {
    observer.logger.info(
      "backfill progress",
      metadata: [
        "job": "\(job.name)", "percent": "\(reading.percent)", "done": "\(reading.done)",
        "total": "\(reading.total)", "records_per_second": "\(Int64(reading.rate.rounded()))",
        "seconds_left": "\(reading.secondsLeft.map { String(Int64($0.rounded(.up))) } ?? "unknown")",
      ])
  }
}
