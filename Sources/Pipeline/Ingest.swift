import Kafka
import Logging
import Monitoring
import Threads

/// The consuming part of the worker: Kafka → batches → Postgres.
///
/// The way of an event: ``IngestLoop`` polls a record, ``RecordIntake`` decodes it into the current batch, and when the
/// batch is due ``BatchWriter`` stores it in one transaction while the loop fills the next one.
public final class Ingest: Sendable {
  private let settings: IngestSettings
  private let observer: Observer
  private let health: HealthState
  private let mailbox = Mailbox<LoopMessage>()

  public init(settings: IngestSettings, observer: Observer, health: HealthState) {
    self.settings = settings
    self.observer = observer
    self.health = health
  }

  /// Consumes until `stop` is called, a replay has reached its ends, or something is beyond repair.
  /// - Throws: `KafkaError`, `PositionError`, `SchemaRefusesRows`, `SchemaNotMigrated`, `MigrationError`,
  ///   `BackfillTakenOver`.
  public func run() async throws {
    let ends = PartitionEnds()
    let monitor = LagMonitor(settings: settings, ends: ends)
    // A replay's distance to the end of its partitions is no lag.
    let monitoring = Task { if settings.replay == nil { await monitor.run() } }
    let runner = LoopRunner()
    let result: Result<Void, any Error>
    do {
      result = .success(try await runner.run(settings, observer, health, mailbox, ends))
    } catch {
      result = .failure(error)
    }
    monitoring.cancel()
    await monitoring.value
    try result.get()
  }

  /// Asks for a clean end: what is in hand is written and committed, then the group is left, if one was joined. From
  /// any thread.
  public func stop() { mailbox.put(.stop) }
}

/// Gives the loop a thread of its own.
private actor LoopRunner {
  private let executor = ThreadExecutor(name: "consumer")
  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  func run(
    _ settings: IngestSettings, _ observer: Observer, _ health: HealthState, _ mailbox: Mailbox<LoopMessage>,
    _ ends: PartitionEnds
  ) throws {
    let loop = try IngestLoop(
      settings: settings, observer: observer, health: health, mailbox: mailbox, ends: ends)
    try loop.run()
  }
}
