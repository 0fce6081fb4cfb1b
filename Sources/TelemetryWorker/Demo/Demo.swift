import Coordinator
import Foundation
import Kafka
import Logging
import Monitoring
import Pipeline
import Postgres
import Store

/// The whole main job on parts of its own: an embedded broker, a private PostgreSQL, generated events.
struct Demo {
  var events: Int
  var partitions: Int
  var seed: UInt64
  var duplicates: Double
  var malformed: Double
  var keep: Bool
  var json: Bool
  /// Settings of the user; where the parts are is the demo's own affair.
  var base: Settings

  private static let topic = "chat-telemetry"
  /// The embedded broker keeps 5 MiB a partition and drops what is older: so many records, of 0.5 kB or so, may wait.
  private static let waitingRecordsPerPartition = 4_000

  func run() async throws {
    say("starting a private PostgreSQL and an embedded Kafka")
    let server = try PrivateServer(settings: ["shared_buffers": "256MB", "max_wal_size": "4GB"])
    var isKept = false
    defer { if !isKept { server.remove() } }
    let cluster = try MockCluster(brokers: 1)
    try cluster.createTopic(Self.topic, partitions: partitions)

    var settings = base
    settings.kafka.brokers = [cluster.bootstrapServers]
    settings.kafka.topics = [Self.topic]
    settings.postgres.url = server.url
    settings.postgres.schema = "public"
    settings.log.level = max(settings.log.level, .error)
    let connection = try Connection(settings.connectionOptions)
    try settings.storeSchema().migrationRunner.run(connection)

    let metrics = WorkerMetrics(version: TelemetryWorker.version)
    let health = HealthState(awaiting: ["kafka", "postgres"])
    let endpoint = MonitoringServer(
      host: settings.http.host, port: 0, title: "telemetry-worker demo", metrics: metrics.registry,
      health: health,
      endpoints: StatusEndpoint.all(settings), logger: settings.logger())
    let port = try await endpoint.start()
    say("metrics meanwhile: http://\(settings.http.host):\(port)/metrics")
    say("generating and ingesting \(NumberText.grouped(events)) events")
    let outcome = try await ingest(settings, connection, metrics, health)
    say("refreshing the summary views")
    let refreshes = try Summaries(connection: connection, schema: try settings.storeSchema())
      .refresh(nil, cause: "manual")
    let report = try DemoReport(outcome: outcome, refreshes: refreshes, connection: connection)
    await endpoint.stop()
    if json { try Console.printJSON(report) } else { Console.print(report.text) }
    isKept = keep
    say(Self.farewell(server, isKept: keep))
  }

  /// Progress is for people; with --json standard output belongs to the program that reads it.
  private func say(_ text: String) { Console.note(text) }

  /// Runs a worker until everything that was generated is committed.
  private func ingest(
    _ settings: Settings, _ connection: Connection, _ metrics: WorkerMetrics, _ health: HealthState
  ) async throws -> DemoOutcome {
    let observer = Observer(metrics: metrics, logger: settings.logger())
    let ingest = Ingest(settings: try settings.ingestSettings(), observer: observer, health: health)
    let coordinator = Coordinator(
      settings: try settings.coordinatorSettings(), observer: observer, health: health)
    let coordinating = Task { await coordinator.run() }
    async let running: Void = ingest.run()
    let generated: Result<DemoOutcome, any Error>
    do { generated = .success(try await produce(settings, connection)) } catch { generated = .failure(error) }
    ingest.stop()
    try await running
    coordinating.cancel()
    await coordinating.value
    return try generated.get()
  }

  /// Produces all events, never further ahead of the worker than the embedded broker keeps, and waits for the last.
  private func produce(_ settings: Settings, _ connection: Connection) async throws -> DemoOutcome {
    let now = Int64(Date().timeIntervalSince1970 * 1_000) * 1_000
    let generator = EventGenerator(
      GeneratorOptions(
        seed: seed, duplicateShare: duplicates, malformedShare: malformed,
        timeline: .spread(
          start: now - TimeSpan(hours: 24).micros, span: TimeSpan(hours: 24).micros, count: events)))
    let producer = try Producer(brokers: settings.brokerList)
    let chunk = max(1, Self.waitingRecordsPerPartition * partitions / 4)
    var summary = ProductionSummary()
    var record = GeneratedRecord()
    while summary.records < events {
      for number in summary.records..<min(events, summary.records + chunk) {
        generator.write(number, into: &record)
        summary.count(record)
        try record.key.withUnsafeBytes { key in
          try record.value.withUnsafeBytes { value in
            try producer.produce(topic: Self.topic, key: key, value: value)
          }
        }
      }
      try producer.flush(timeoutMs: 60_000)
      let allowed = summary.records - Self.waitingRecordsPerPartition * partitions
      try await waitForCommitted(allowed, connection)
    }
    try await waitForCommitted(summary.records, connection)
    // From the assignment of the partitions, for the embedded broker lets a group wait 3 s before it gives any.
    let span = try connection.query(
      "SELECT extract(epoch FROM max(updated_at) - min(created_at)) FROM chat_telemetry_offsets",
      operation: "read the time it took")
    return DemoOutcome(production: summary, seconds: Double(span.rows[0].text(0)) ?? 0)
  }

  private func waitForCommitted(_ records: Int, _ connection: Connection) async throws {
    while try committed(connection) < records { try await Task.sleep(for: .milliseconds(20)) }
  }

  private func committed(_ connection: Connection) throws -> Int {
    let rows = try connection.query(
      "SELECT coalesce(sum(next_offset), 0) FROM chat_telemetry_offsets", operation: "read the progress"
    ).rows
    return Int(rows[0].int(0))
  }

  private static func farewell(_ server: PrivateServer, isKept: Bool) -> String {
    guard isKept else {
      return "nothing was left running; with --keep the database stays up for you to look at with psql"
    }
    return """
      PostgreSQL is left running. To look for yourself:
        psql \(server.url)
      To stop it and remove its data:
        \(server.stopCommand)
      """
  }
}

/// What a demo did.
struct DemoOutcome {
  var production: ProductionSummary
  /// From the assignment of the partitions to the last COMMIT.
  var seconds: Double
}
