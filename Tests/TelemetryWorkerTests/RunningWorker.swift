import Foundation
import Kafka
import Postgres
import Store
import TestSupport

/// A broker and a database for one test, and the variables that lead a worker there.
final class WorkerStage {
  let cluster: MockCluster
  let database: TestDatabase
  private let producer: Producer
  let topic: String
  let nowMs: Int64

  init(partitions: Int, topic: String = "chat-telemetry", on server: PrivateServer? = nil) throws {
    cluster = try MockCluster(brokers: 1)
    try cluster.createTopic(topic, partitions: partitions)
    database = try TestDatabase(on: server)
    producer = try Producer(
      brokers: cluster.bootstrapServers, properties: KafkaProperties(["linger.ms": "5"]))
    nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    self.topic = topic
  }

  var environment: [String: String] {
    [
      "TELEMETRY_KAFKA_BROKERS": cluster.bootstrapServers, "TELEMETRY_KAFKA_TOPICS": topic,
      "TELEMETRY_KAFKA_GROUP": "test",
      "TELEMETRY_KAFKA_PROPERTIES": "session.timeout.ms=6000,heartbeat.interval.ms=200",
      "TELEMETRY_POSTGRES_URL": database.options.conninfo,
      "TELEMETRY_POSTGRES_SCHEMA": database.schema.name, "TELEMETRY_HTTP_PORT": "0",
      "TELEMETRY_REFRESH_MIN_INTERVAL_S": "1", "TELEMETRY_LOG_FORMAT": "json",
    ]
  }

  func flush() throws { try producer.flush(timeoutMs: 30_000) }

  func produce(_ value: String?, partition: Int32? = nil) throws {
    try producer.produce(
      topic: topic, partition: partition, key: nil, value: value.map { Array($0.utf8) })
  }

  /// Produces random events of the last hours and returns them.
  @discardableResult
  func produce(events count: Int, seed: UInt64, partition: Int32? = nil) throws -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    let events = (0..<count).map { _ in
      TestEvent.random(&random, nowMs: nowMs, spanMs: 6 * 3_600_000)
    }
    for event in events { try produce(event.json, partition: partition) }
    try flush()
    return events
  }

  /// Runs a worker while `body` runs; then asks it to stop, and waits until it has.
  @discardableResult
  func withWorker<Value>(
    _ more: [String: String] = [:], arguments: [String] = [],
    _ body: (RunningWorker) async throws -> Value
  ) async throws -> Value {
    let worker = try await RunningWorker(environment.merging(more) { $1 }, arguments: arguments)
    do {
      let value = try await body(worker)
      try await worker.stop()
      return value
    } catch {
      try await worker.stop()
      throw error
    }
  }
}

/// The built program at work as `telemetry-worker run`.
final class RunningWorker: Sendable {
  private let process = Process()
  private let log: URL
  var pid: Int32 { process.processIdentifier }
  /// Where it serves its metrics.
  let port: UInt16

  /// Starts it with these variables and waits until its endpoint listens.
  init(_ environment: [String: String], arguments: [String] = []) async throws {
    log = FileManager.default.temporaryDirectory.appendingPathComponent("worker-\(UUID().uuidString).log")
    try Data().write(to: log)
    process.executableURL = program
    process.arguments = ["run"] + arguments
    process.environment = environment
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
    var found: UInt16?
    let (process, log) = (process, log)
    try await eventually("the worker listens") {
      let text = Self.text(log)
      guard process.isRunning else { throw Ended(log: text) }
      found = text.firstMatch(of: /"HTTP server listens".*"port":(\d+)/).flatMap { UInt16($0.1) }
      return found != nil
    }
    port = found!
  }

  struct Ended: Error, CustomStringConvertible {
    var log: String
    var description: String { "the worker ended by itself:\n\(log)" }
  }

  /// Asks for a clean end with SIGTERM and waits for it.
  func stop() async throws {
    process.terminate()
    let process = process
    try await eventually("the worker ends") { !process.isRunning }
    guard process.terminationStatus == 0 else { throw Ended(log: Self.text(log)) }
    try? FileManager.default.removeItem(at: log)
  }

  func hasLogged(_ text: String) -> Bool { Self.text(log).contains(text) }

  private static func text(_ log: URL) -> String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

  func ask(_ path: String) async throws -> HTTPAnswer { try await TestSupport.ask(path, port: port) }

  /// Its metrics, read strictly.
  func scrape() async throws -> Scrape { try Scrape(try await ask("/metrics").body) }

  /// Scrapes until the metrics are as awaited, and returns those.
  @discardableResult
  func scrape(until what: String, _ condition: (Scrape) -> Bool) async throws -> Scrape {
    var last: Scrape?
    do {
      try await eventually(what) {
        let scrape = try await scrape()
        last = scrape
        return condition(scrape)
      }
    } catch let error as TimedOut {
      throw TimedOut(what: "\(error.what); the last scrape:\n\(last?.text ?? "none")")
    }
    return last!
  }
}

/// What one scrape showed.
struct Scrape {
  let text: String
  private let parsed: ExpositionParser
  static let prefix = "telemetry_worker_"

  init(_ text: String) throws {
    self.text = text
    parsed = try ExpositionParser(text)
  }

  /// The series' value, its name without the prefix; nil when there is none.
  subscript(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    parsed.value(Self.prefix + name, labels)
  }

  /// All samples of a family.
  func samples(_ name: String) -> [ExpositionParser.Sample] {
    parsed.families[Self.prefix + name]?.samples ?? []
  }

  /// The families that have a sample, without the prefix.
  var names: Set<String> {
    Set(
      parsed.families.filter { !$0.value.samples.isEmpty }.keys.map {
        String($0.dropFirst(Self.prefix.count))
      })
  }

  /// The sum of all samples of a family.
  func sum(_ name: String) -> Double { samples(name).reduce(0) { $0 + $1.value } }

  /// The partitions that a family has series for.
  func partitions(_ name: String) -> [Int] {
    samples(name).compactMap { $0.labels["partition"].flatMap { Int($0) } }.sorted()
  }
}
