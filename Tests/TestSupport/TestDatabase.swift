import Foundation
import Postgres
import Store
import Synchronization

/// A schema of its own in a private PostgreSQL server that the test run starts once.
public final class TestDatabase: Sendable {
  public let schema: Schema
  public let options: ConnectionOptions
  private static let counter = Atomic<Int>(0)

  /// Started by the first test that needs it, removed when the process ends.
  private static let shared = Result { try SharedServer() }

  /// Makes a schema in the shared server, or in one of the test's own, and migrates it unless told otherwise.
  public init(migrated: Bool = true, on server: PrivateServer? = nil) throws {
    let server = try server ?? Self.shared.get().server
    let number = Self.counter.add(1, ordering: .relaxed).newValue
    schema = try Schema("test_\(number)")
    options = ConnectionOptions(conninfo: server.url, applicationName: "telemetry-worker")
    let connection = try Connection(options)
    try connection.execute("CREATE SCHEMA \(schema.quoted)", operation: "make a schema for a test")
    if migrated { try schema.migrationRunner.run(connection) }
  }

  public func connect() throws -> Connection { try Connection(options) }

  /// SQL text in which `@` stands for the schema.
  public func sql(_ text: String) -> String { text.replacing("@", with: schema.quoted) }

  /// The name of a role that no other test has.
  public func role(_ name: String) -> String { "\(schema.name)_\(name)" }

  /// Runs one query on a connection of its own; `@` stands for the schema.
  @discardableResult
  public func rows(_ sql: String) throws -> [[String?]] {
    let connection = try connect()
    // Who waits for a lock for ever fails the test, not the whole run.
    try connection.execute("SET statement_timeout = '2min'", operation: "bound a test's query")
    return try connection.execute(self.sql(sql), operation: "query for a test").rows.map(\.values)
  }

  /// Waits until a backend waits for a lock.
  public func untilBlocked(_ backendPID: Int32) async throws {
    try await eventually("backend \(backendPID) waits for a lock") {
      try number(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = \(backendPID) AND wait_event_type = 'Lock'") == 1
    }
  }

  /// Ends a backend, as an administrator or a failover would, and waits until it is gone.
  public func terminate(_ backendPID: Int32) throws {
    try rows("SELECT pg_terminate_backend(\(backendPID), 60000)")
  }

  /// Runs one or more statements; `@` stands for the schema.
  public func execute(_ sql: String) throws { _ = try rows(sql) }

  /// The first value of the first row as a number.
  public func number(_ sql: String) throws -> Int64 {
    try rows(sql).first?.first.flatMap { $0 }.flatMap { Int64($0) } ?? 0
  }
}

/// A server that goes with the process.
private final class SharedServer: Sendable {
  let server: PrivateServer

  init() throws {
    server = try PrivateServer(settings: [
      "fsync": "off", "max_connections": "300",
      // A session that sets synchronous_commit on waits in COMMIT for a standby that does not exist.
      "synchronous_commit": "local", "synchronous_standby_names": "nobody",
    ])
    Self.remembered.withLock { $0 = server }
    atexit { SharedServer.remembered.withLock { $0?.remove() } }
  }

  private static let remembered = Mutex<PrivateServer?>(nil)
}

extension TestDatabase {
  /// The same server, as another user.
  public func options(user: String, password: String? = nil) -> ConnectionOptions {
    let secret = password.map { ":\($0)" } ?? ""
    return ConnectionOptions(
      conninfo: options.conninfo.replacing("postgres@", with: "\(user)\(secret)@"),
      applicationName: options.applicationName)
  }
}
