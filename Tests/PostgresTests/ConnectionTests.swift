import Postgres
import TestSupport
import Testing

@Suite("Connections")
struct ConnectionTests {
  @Test(
    "A failed connection never shows the password, however the URL is broken",
    arguments: [
      "postgresql://worker:s3cr3t@127.0.0.1:1/telemetry",
      "postgresql://worker:s3cr3t@no-such-host.invalid/telemetry",
      "postgresql://worker:s3cr3t%zz@127.0.0.1/telemetry",
      "postgresql://worker:first@s3cr3t@127.0.0.1:1/telemetry",
      "postgresql://worker:first@s3cr3t:5@127.0.0.1:1/telemetry",
      "postgresql://worker:s3cr3t/second@127.0.0.1:1/telemetry",
      "postgresql://127.0.0.1:1/s3cr3t@host/telemetry",
      "postgresql://worker:s3cr3t@[::1/telemetry",
      "postgresql://worker:first?s3cr3t=1@127.0.0.1:1/telemetry?s3cr3t",
      "host=127.0.0.1 port=1 password=s3cr3t",
      "host=127.0.0.1 port=1 password=first s3cr3t",
      "host=127.0.0.1 port=1 password=first s3cr3t=second",
      "host=127.0.0.1 port=1 password='s3cr3t",
      "s3cr3t",
    ])
  func hidesThePassword(conninfo: String) throws {
    let options = ConnectionOptions(conninfo: conninfo)
    let error = try #require(throws: PostgresError.self) { try Connection(options) }
    #expect(!"\(error) \(String(reflecting: error))".contains("s3cr3t"))
    #expect(!error.message.isEmpty)
    #expect(!"\(options)".contains("s3cr3t"))
  }

  @Test("A refused password is an error of the server that does not repeat it")
  func refusedPassword() throws {
    let database = try TestDatabase(migrated: false)
    let role = database.role("login")
    let admin = try database.connect()
    try admin.execute("CREATE ROLE \(role) LOGIN PASSWORD 'right'", operation: "make a role")
    let file = try admin.execute("SHOW hba_file", operation: "find pg_hba.conf").rows[0].text(0)
    try admin.execute(
      """
      COPY (VALUES ('host all \(role) 127.0.0.1/32 scram-sha-256'), ('host all all 127.0.0.1/32 trust'))
      TO '\(file)'
      """, operation: "ask a role for its password")
    try admin.execute("SELECT pg_reload_conf()", operation: "reload pg_hba.conf")

    let right = database.options(user: role, password: "right")
    #expect(try Connection(right).execute("SELECT 1", operation: "ask").rows[0].int(0) == 1)
    let error = try #require(throws: PostgresError.self) {
      // The server may read the new file a moment later; then anything is right.
      for _ in 0..<1_000 { _ = try Connection(database.options(user: role, password: "s3cr3t")) }
    }
    #expect(error.message.contains("authentication failed"))
    #expect(!"\(error) \(String(reflecting: error))".contains("s3cr3t"))
    #expect(error.connectionLost)
  }

  @Test("An address where nobody listens is a lost connection without an SQLSTATE")
  func nobodyListens() throws {
    let error = try #require(throws: PostgresError.self) {
      try Connection(ConnectionOptions(conninfo: "host=127.0.0.1 port=1"))
    }
    #expect(error.connectionLost)
    #expect(error.sqlState == nil)
  }

  @Test("A backend ended in the middle of a statement is a lost connection with the server's reason")
  func endedInAStatement() async throws {
    let database = try TestDatabase(migrated: false)
    let (pid, run) = try victim(database) { connection in
      try connection.query("SELECT pg_sleep(600)", operation: "sleep")
    }
    try await database.untilActive(pid)
    try database.terminate(pid)
    let error = try #require(await run.value)
    #expect(error.connectionLost)
    #expect(error.sqlState == "57P01")
  }

  @Test("A backend ended in the middle of a pipeline is a lost connection with the server's reason")
  func endedInAPipeline() async throws {
    let database = try TestDatabase(migrated: false)
    let (pid, run) = try victim(database) { connection in
      try connection.pipeline([
        Statement("SELECT 1", operation: "ask"), Statement("SELECT pg_sleep(600)", operation: "sleep"),
        Statement("SELECT 2", operation: "ask again"),
      ])
    }
    try await database.untilActive(pid)
    try database.terminate(pid)
    let error = try #require(await run.value)
    #expect(error.connectionLost)
    #expect(error.sqlState == "57P01")
  }

  @Test("A backend ended between two statements is found out by the next one")
  func endedBetweenStatements() throws {
    let database = try TestDatabase(migrated: false)
    let connection = try database.connect()
    try database.terminate(connection.backendPID)
    let error = try #require(throws: PostgresError.self) {
      try connection.query("SELECT 1", operation: "ask")
    }
    #expect(error.connectionLost)
    #expect(!connection.isUsable)
  }

  @Test("Whoever waits for a lock hears of it again and again, with the pid of the backend that waits")
  func reportsStalls() async throws {
    let database = try TestDatabase(migrated: false)
    let holder = try database.connect()
    let table = database.sql("@.t")
    try holder.execute("CREATE TABLE \(table) ()", operation: "make a table")
    try holder.execute("BEGIN; LOCK TABLE \(table)", operation: "hold a lock")
    let holderPID = holder.backendPID
    let waiting = Background { [database, table] in
      let waiter = try database.connect()
      var reported: [Int32] = []
      waiter.stallAfterMs = 1
      waiter.onStall = { pid in
        reported.append(pid)
        if reported.count == 3 { try? database.terminate(holderPID) }
      }
      try waiter.execute("SELECT FROM \(table)", operation: "wait")
      return (waiter.backendPID, reported)
    }
    let (pid, reported) = try await waiting.value
    #expect(reported.count >= 3)
    #expect(Set(reported) == [pid])
    withExtendedLifetime(holder) {}
  }
}

/// Runs a statement on a thread and a connection of its own; returns the backend's process id before it has ended.
func victim(
  _ database: TestDatabase, _ body: @escaping @Sendable (Connection) throws -> Void
) throws -> (pid: Int32, Background<PostgresError?>) {
  nonisolated(unsafe) let connection = try database.connect()
  let pid = connection.backendPID
  return (
    pid,
    Background {
      do {
        try body(connection)
        return nil
      } catch let error as PostgresError {
        return error
      }
    }
  )
}

extension TestDatabase {
  func untilActive(_ pid: Int32) async throws {
    try await eventually("backend \(pid) sleeps") {
      try number("SELECT count(*) FROM pg_stat_activity WHERE pid = \(pid) AND wait_event = 'PgSleep'") == 1
    }
  }
}
