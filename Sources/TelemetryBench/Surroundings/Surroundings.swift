import Foundation
import Kafka
import Postgres
import Store
import Synchronization
import TestSupport

/// A benchmark's own PostgreSQL and Kafka, and the workers it has started.
final class Surroundings: Sendable {
  let server: PrivateServer
  let cluster: MockCluster
  private let postmaster: pid_t
  private let workers = Mutex<[WorkerProcess]>([])
  private let databases = Atomic<Int>(0)

  /// The same for all who are compared. fsync, synchronous_commit and full_page_writes stay as they are by default: on.
  /// Autovacuum is off because it would meet some runs and not others; what it would cost is measured by itself.
  private static let serverSettings = [
    "max_wal_size": "4GB", "checkpoint_timeout": "15min", "autovacuum": "off",
  ]

  init(sharedBuffers: String) throws {
    server = try PrivateServer(
      settings: Self.serverSettings.merging(["shared_buffers": sharedBuffers]) { $1 })
    do {
      cluster = try MockCluster(brokers: 1)
      let file = server.folder.appending(path: "data/postmaster.pid")
      let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
      guard let pid = lines.first.flatMap({ pid_t($0) }) else {
        throw BenchFailure("\(file.path) does not begin with a process id")
      }
      postmaster = pid
    } catch {
      server.remove()
      throw error
    }
  }

  /// Ends everything. To be called at the end, whatever happened.
  func remove() {
    for worker in workers.withLock({ $0 }) { worker.send(SIGKILL) }
    server.remove()
  }

  // MARK: PostgreSQL

  /// A database of one run's own, migrated.
  func makeDatabase() throws -> Database {
    let name = "bench_\(databases.add(1, ordering: .relaxed).newValue)"
    try administrate("CREATE DATABASE \(name)")
    let database = Database(
      name: name, url: "postgresql://postgres@127.0.0.1:\(server.port)/\(name)", schema: try Schema())
    try database.schema.migrationRunner.run(database.connect())
    try administrate("CHECKPOINT")
    return database
  }

  func drop(_ database: Database) throws { try administrate("DROP DATABASE \(database.name) WITH (FORCE)") }

  private func administrate(_ sql: String) throws {
    let options = ConnectionOptions(conninfo: server.url, applicationName: Database.applicationName)
    try Connection(options).execute(sql, operation: "run \(sql)")
  }

  func usage(_ connection: Connection) throws -> ServerUsage {
    let row = try connection.query(
      "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn", operation: "read how much WAL there is"
    ).rows[0]
    return ServerUsage(
      cpuSeconds: try ProcessUsage.cpuSeconds(ofServer: postmaster), walBytes: Double(row.text(0)) ?? 0)
  }

  /// The server's version, and its settings that somebody chose.
  func describeServer() throws -> (version: String, settings: [String: String]) {
    let connection = try Connection(ConnectionOptions(conninfo: server.url))
    let rows = try connection.query(
      """
      SELECT name, current_setting(name) FROM pg_settings
      WHERE name = 'server_version'
        OR name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers')
        OR name = ANY ($1)
      """, Self.names(Self.serverSettings.keys.sorted()), operation: "read the server's settings"
    ).rows
    var settings = Dictionary(uniqueKeysWithValues: rows.map { ($0.text(0), $0.text(1)) })
    let version = settings.removeValue(forKey: "server_version") ?? ""
    return (version, settings)
  }

  private static func names(_ names: [String]) -> Parameters {
    var parameters = Parameters()
    parameters.array(of: .text, count: names.count)
    for name in names { parameters.element(name) }
    return parameters
  }

  // MARK: Workers

  /// Starts the worker with its defaults, on this database and topic.
  func startWorker(_ database: Database, topic: String, group: String) throws -> WorkerProcess {
    let worker = try WorkerProcess(
      ["run"],
      environment: [
        "TELEMETRY_KAFKA_BROKERS": cluster.bootstrapServers, "TELEMETRY_KAFKA_TOPICS": topic,
        "TELEMETRY_KAFKA_GROUP": group, "TELEMETRY_POSTGRES_URL": database.url,
        "TELEMETRY_HTTP_PORT": "0", "TELEMETRY_LOG_LEVEL": "warning",
      ])
    workers.withLock { $0.append(worker) }
    return worker
  }

  func stop(_ worker: WorkerProcess) async throws {
    worker.send(SIGTERM)
    let code = try await worker.end()
    workers.withLock { $0.removeAll { $0 === worker } }
    guard code == 0 else { throw BenchFailure("a worker ended with \(code): \(worker.errors.suffix(2_000))") }
  }
}

/// What the server has used since it was started.
struct ServerUsage {
  var cpuSeconds: Double
  var walBytes: Double
}

/// One database of the private server.
struct Database: Sendable {
  let name: String
  let url: String
  let schema: Schema

  static let applicationName = "telemetry-bench"

  var options: ConnectionOptions {
    ConnectionOptions(conninfo: url, applicationName: Self.applicationName)
  }

  func connect() throws -> Connection { try Connection(options) }
}

/// A measurement that cannot be made, or would be worth nothing.
struct BenchFailure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}
