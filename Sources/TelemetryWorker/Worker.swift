import Coordinator
import Foundation
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry

/// The running worker: one `run` assembles its parts and takes them down again.
struct Worker {
  let settings: Settings
  let role: RunCommand.Role
  let logger: Logger
  let metrics: WorkerMetrics
  let health: HealthState

  init(settings: Settings, role: RunCommand.Role) {
    self.settings = settings
    self.role = role
    logger = settings.logger()
    metrics = WorkerMetrics(version: TelemetryWorker.version)
    health = HealthState(awaiting: role == .coordinator ? ["coordinator"] : ["kafka", "postgres"])
    metrics.declare(
      topics: settings.kafka.topics, deadLetterReasons: RejectionReason.allCases.map(\.rawValue),
      repairKinds: RepairKind.allCases.map(\.rawValue), views: SummaryView.allCases.map(\.rawValue))
  }

  /// Works until SIGTERM or SIGINT, or until something is beyond repair.
  func run() async throws {
    let signals = await StopSignals()
    let observer = Observer(metrics: metrics, logger: logger)
    let server = MonitoringServer(
      host: settings.http.host, port: UInt16(settings.http.port), title: "telemetry-worker",
      metrics: metrics.registry, health: health, endpoints: StatusEndpoint.all(settings), logger: logger)
    let ingest = Ingest(settings: try settings.ingestSettings(), observer: observer, health: health)
    let coordinator = Coordinator(
      settings: try settings.coordinatorSettings(), observer: observer, health: health)
    try await server.start()
    logger.info(
      "worker starts",
      metadata: [
        "version": "\(TelemetryWorker.version)", "topics": "\(settings.kafka.topics.joined(separator: ","))",
        "group": "\(settings.kafka.group)", "role": "\(role.rawValue)",
      ])
    let stop = StopRequest { ingest.stop() }
    let deadlineSeconds = settings.ingest.shutdownDeadlineSeconds
    let obeying = Task { [logger] in
      await signals.obey(deadlineSeconds: deadlineSeconds, lateCode: 0, logger: logger) { stop.request() }
    }
    let coordinating = Task { if role != .consumer { await coordinator.run() } }
    let result: Result<Void, any Error>
    do {
      result = .success(try await consume(ingest, until: stop))
    } catch {
      health.report("worker", .failed("\(error)"))
      result = .failure(error)
    }
    coordinating.cancel()
    await coordinating.value
    obeying.cancel()
    await server.stop()
    try result.get()
    logger.info("worker stopped")
  }

  private func consume(_ ingest: Ingest, until stop: StopRequest) async throws {
    if role == .coordinator {
      try refuseUnlessMigrated()
      health.report("kafka", .ok)
      await stop.wait()
    } else {
      try await ingest.run()
    }
  }

  /// What the consuming part does by itself: a schema that is not migrated is said at once, a server that does not answer
  /// is waited for.
  private func refuseUnlessMigrated() throws {
    do {
      try settings.storeSchema().refuseUnlessMigrated(Connection(settings.connectionOptions))
    } catch let error as PostgresError where error.isEnvironment {
      logger.warning("the schema could not be checked", metadata: ["reason": "\(error)"])
    }
  }
}

/// The wish to stop: made once, from any thread, and heard by whoever waits.
final class StopRequest: Sendable {
  private let onRequest: @Sendable () -> Void
  private let (stream, continuation) = AsyncStream<Never>.makeStream()

  init(onRequest: @escaping @Sendable () -> Void) { self.onRequest = onRequest }

  func request() {
    onRequest()
    continuation.finish()
  }

  /// Returns once the wish was made.
  func wait() async {
    for await _ in stream {}
  }
}
