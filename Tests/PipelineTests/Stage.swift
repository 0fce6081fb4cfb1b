import Kafka
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry
import TestSupport

/// A broker and a database for one test.
final class Stage: Sendable {
  let database: TestDatabase
  let cluster: MockCluster
  /// One test's, and used by one task at a time.
  nonisolated(unsafe) let producer: Producer
  let nowMs: Int64
  let topic = "chat-telemetry"

  init(partitions: Int = 1, database: TestDatabase? = nil) throws {
    self.database = try database ?? TestDatabase()
    cluster = try MockCluster(brokers: 1)
    try cluster.createTopic(topic, partitions: partitions)
    producer = try Producer(
      brokers: cluster.bootstrapServers, properties: KafkaProperties(["linger.ms": "5"]))
    nowMs = try self.database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
  }

  // MARK: Producing

  func produce(
    _ value: String?, partition: Int32? = nil, key: [UInt8]? = nil, headers: [Header] = []
  ) throws {
    try producer.produce(
      topic: topic, partition: partition, key: key, value: value.map { Array($0.utf8) }, headers: headers)
  }

  /// Produces so many random events and adds them to the truth.
  func produce(
    _ count: Int, _ random: inout SeededGenerator, _ truth: inout Truth, partition: Int32? = nil
  ) throws {
    for _ in 0..<count {
      let event = TestEvent.random(&random, nowMs: nowMs)
      truth.add(event)
      try produce(event.json, partition: partition)
    }
    try flush()
  }

  func flush() throws { try producer.flush(timeoutMs: 30_000) }

  // MARK: Looking

  /// Whether the stored positions, which begin at 0, add up to so many records.
  func isDrained(_ records: Int) throws -> Bool {
    try database.number("SELECT coalesce(sum(next_offset), 0) FROM @.chat_telemetry_offsets") == records
  }

  func drained(_ records: Int) async throws {
    try await eventually("all positions reach the ends") { try isDrained(records) }
  }

  /// The stored positions of the topic, by partition.
  func positions() throws -> [Int64] {
    try database.rows("SELECT next_offset FROM @.chat_telemetry_offsets ORDER BY partition")
      .compactMap { $0[0].flatMap { Int64($0) } }
  }

  /// What the worker's backends are called, apart from those of other tests.
  var backends: String { "worker of \(database.schema.name)" }

  /// Ends all of the worker's connections, as an administrator or a failover would; how many there were.
  @discardableResult
  func terminateBackends() throws -> Int {
    try database.rows(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '\(backends)'"
    ).count
  }

  // MARK: Running

  var settings: IngestSettings {
    var connection = database.options
    connection.applicationName = backends
    return IngestSettings(
      brokers: cluster.bootstrapServers, topics: [topic], group: "test",
      properties: KafkaProperties(["session.timeout.ms": "6000", "heartbeat.interval.ms": "200"]),
      start: .earliest, rules: DecodingRules(), batchEvents: 3_000, batchBytes: 1 << 16, flushMs: 50,
      shutdownDeadlineSeconds: 10,
      database: DatabaseSettings(
        connection: connection, schema: database.schema, group: "test", recentKeys: 1_000))
  }

  /// Runs a worker while `body` runs, and stops it cleanly.
  @discardableResult
  func whileConsuming<Value>(
    _ settings: IngestSettings? = nil, _ body: (RunningIngest) async throws -> Value
  ) async throws -> Value {
    let worker = RunningIngest(settings ?? self.settings)
    do {
      let value = try await body(worker)
      try await worker.stop()
      return value
    } catch {
      // What ended the worker says more than what was awaited of it in vain.
      try await worker.stop()
      throw error
    }
  }
}

/// The consuming part of a worker at work.
struct RunningIngest: Sendable {
  let metrics = WorkerMetrics(version: "test")
  let health = HealthState(awaiting: ["kafka", "postgres"])
  private let ingest: Ingest
  private let running: Task<Void, any Error>

  init(_ settings: IngestSettings) {
    var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    logger.logLevel = .error
    let ingest = Ingest(
      settings: settings, observer: Observer(metrics: metrics, logger: logger), health: health)
    self.ingest = ingest
    running = Task { try await ingest.run() }
  }

  /// Asks for a clean end and waits for it.
  /// - Throws: what ended the worker before.
  func stop() async throws {
    ingest.stop()
    try await end()
  }

  /// Waits until the worker ends by itself.
  func end() async throws {
    try await ends("the worker", within: .seconds(60)) { [running] in try await running.value }
  }

  var assigned: Int { Int(metrics.consumer.assignedPartitions.value) }

  func rebalances(_ kind: RebalanceKind) -> Int {
    metrics.consumer.rebalances.series(kind.rawValue).value
  }

  func events(_ outcome: EventOutcome, topic: String = "chat-telemetry") -> Int {
    metrics.ingest.events.series(topic, outcome.rawValue).value
  }

  /// Database errors of any class that were answered in this way.
  func databaseErrors(_ action: DatabaseErrorAction) -> Int {
    let family = metrics.ingest.databaseErrors
    return family.labelValues.filter { $0[1] == action.rawValue }.reduce(0) {
      $0 + family.series($1[0], $1[1]).value
    }
  }

  var lag: [Double] {
    let family = metrics.consumer.lagRecords
    return family.labelValues.map { family.series($0[0], $0[1]).value }
  }
}
