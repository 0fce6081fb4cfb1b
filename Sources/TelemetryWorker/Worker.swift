import Foundation
import Logging
import Monitoring
import Pipeline
import Telemetry
import UnixSignals

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
    health = HealthState(awaiting: ["kafka", "postgres"])
    metrics.declare(
      topics: settings.kafka.topics, deadLetterReasons: RejectionReason.allCases.map(\.rawValue),
      repairKinds: RepairKind.allCases.map(\.rawValue), views: [])
  }

  /// Works until SIGTERM or SIGINT, or until something is beyond repair.
  func run() async throws {
    let server = MonitoringServer(
      host: settings.http.host, port: UInt16(settings.http.port), title: "telemetry-worker",
      metrics: metrics.registry, health: health, logger: logger)
    let ingest = Ingest(
      settings: try settings.ingestSettings(), observer: Observer(metrics: metrics, logger: logger),
      health: health)
    try await server.start()
    logger.info(
      "worker starts",
      metadata: [
        "version": "\(TelemetryWorker.version)", "topics": "\(settings.kafka.topics.joined(separator: ","))",
        "group": "\(settings.kafka.group)",
      ])
    let signals = Task { await obeySignals { ingest.stop() } }
    defer { signals.cancel() }
    do {
      try await ingest.run()
    } catch {
      health.report("worker", .failed("\(error)"))
      await server.stop()
      throw error
    }
    await server.stop()
    logger.info("worker stopped")
  }

  /// The first signal asks for a clean stop, which has until the deadline; the second one ends the process at once.
  private func obeySignals(stop: @escaping @Sendable () -> Void) async {
    let deadline = settings.ingest.shutdownDeadlineSeconds
    var isStopping = false
    for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
      if isStopping {
        logger.warning("second signal: ending at once", metadata: ["signal": "\(signal)"])
        exit(Exit.failed)
      }
      isStopping = true
      logger.info("stopping", metadata: ["signal": "\(signal)", "deadline_seconds": "\(deadline)"])
      stop()
      // Not a Task: the shared pool may be busy, and the deadline holds all the same.
      let watchdog = Thread { [logger] in
        Thread.sleep(forTimeInterval: Double(deadline) * 0.95)
        logger.warning("the deadline is over; what was not committed will be read again")
        exit(0)
      }
      watchdog.start()
    }
  }
}
