import Kafka
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite("The main path, from Kafka to the tables")
struct IngestTests {
  @Test(
    "Every event is stored once and the rollups equal a truth computed apart, whatever is delivered twice")
  func storesEverythingOnce() async throws {
    let stage = try Stage(partitions: 3)
    var random = SeededGenerator(seed: 7)
    var truth = Truth()
    var sent: [TestEvent] = []
    for _ in 0..<20_000 {
      let event =
        sent.isEmpty || Int.random(in: 0..<50, using: &random) > 0
        ? TestEvent.random(&random, nowMs: stage.nowMs) : sent.randomElement(using: &random)!
      sent.append(event)
      truth.add(event)
      try stage.produce(event.json)
    }
    try stage.producer.flush(timeoutMs: 30_000)
    try await stage.whileConsuming {
      try await eventually("all positions reach the ends") { try stage.isDrained(sent.count) }
    }
    #expect(try truth.differences(in: stage.database) == [])
    #expect(truth.count < sent.count)
  }
}

/// A broker, a database and a worker's consuming part, for one test.
final class Stage: Sendable {
  let database: TestDatabase
  let cluster: MockCluster
  nonisolated(unsafe) let producer: Producer
  let nowMs: Int64
  let topic = "chat-telemetry"

  init(partitions: Int) throws {
    database = try TestDatabase()
    cluster = try MockCluster(brokers: 1)
    try cluster.createTopic(topic, partitions: partitions)
    producer = try Producer(brokers: cluster.bootstrapServers)
    nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
  }

  func produce(_ value: String) throws {
    try producer.produce(topic: topic, partition: nil, key: nil, value: Array(value.utf8))
  }

  func isDrained(_ records: Int) throws -> Bool {
    try database.number("SELECT coalesce(sum(next_offset), 0) FROM @.chat_telemetry_offsets") == records
  }

  var settings: IngestSettings {
    IngestSettings(
      brokers: cluster.bootstrapServers, topics: [topic], group: "test",
      properties: KafkaProperties(["session.timeout.ms": "6000"]), start: .earliest, rules: DecodingRules(),
      batchEvents: 3_000, batchBytes: 1 << 24, flushMs: 50, shutdownDeadlineSeconds: 10,
      database: DatabaseSettings(
        connection: database.options, schema: database.schema, group: "test", recentKeys: 1_000))
  }

  /// Runs a worker while `body` runs, and stops it cleanly.
  func whileConsuming(_ body: () async throws -> Void) async throws {
    var logger = Logger(label: "test")
    logger.logLevel = .warning
    let ingest = Ingest(
      settings: settings, observer: Observer(metrics: WorkerMetrics(version: "test"), logger: logger),
      health: HealthState())
    async let running: Void = ingest.run()
    do {
      try await body()
    } catch {
      ingest.stop()
      try await running
      throw error
    }
    ingest.stop()
    try await running
  }
}
