import Postgres
import TestSupport
import Testing

@Suite("Migrations")
struct MigrationTests {
  private let database: TestDatabase

  init() throws { database = try TestDatabase(migrated: false) }

  private func runner(_ steps: String...) -> MigrationRunner {
    return MigrationRunner(
      table: database.sql("@.migrations"), guardedTable: database.sql("@.log"),
      migrations: steps.enumerated().map { place, sql in
        Migration(
          version: place + 1, name: "step_\(place + 1)", sql: database.sql(sql))
      })
  }

  private static let makeLog = "CREATE TABLE @.log (line text); INSERT INTO @.log VALUES ('one')"
  private static let addTwo = "INSERT INTO @.log VALUES ('two')"
  private var lines: [String?] {
    get throws { try database.rows("SELECT line FROM @.log ORDER BY line").map { $0[0] } }
  }

  @Test("What is missing is applied in order, once, and what is pending is told before")
  func inOrderAndOnce() throws {
    let connection = try database.connect()
    #expect(try runner(Self.makeLog, Self.addTwo).pending(connection).map(\.version) == [1, 2])
    var told: [Int] = []
    let applied = try runner(Self.makeLog, Self.addTwo).run(connection) { told.append($0.version) }
    #expect(applied.map(\.version) == [1, 2])
    #expect(told == [1, 2])
    #expect(try runner(Self.makeLog, Self.addTwo).run(connection).isEmpty)
    #expect(try lines == ["one", "two"])
    let third = "INSERT INTO @.log VALUES ('zwei')"
    #expect(try runner(Self.makeLog, Self.addTwo, third).pending(connection).map(\.version) == [3])
    #expect(try runner(Self.makeLog, Self.addTwo, third).run(connection).map(\.version) == [3])
    #expect(try lines == ["one", "two", "zwei"])
  }

  @Test(
    "Programs that migrate at once apply each step once, whatever isolation the role defaults to",
    arguments: ["read committed", "repeatable read", "serializable"])
  func concurrently(isolation: String) async throws {
    let steps = runner(Self.makeLog, "SELECT pg_sleep(0.05)", Self.addTwo)
    var options = database.options
    options.conninfo +=
      "?options=-c%20default_transaction_isolation%3D\(isolation.replacing(" ", with: "%5C%20"))"
    let programs = (0..<6).map { _ in
      Background { [options] in try steps.run(try Connection(options)).map(\.version) }
    }
    var applied: [Int] = []
    for program in programs { applied += try await program.value }
    #expect(applied.sorted() == [1, 2, 3])
    #expect(try lines == ["one", "two"])
  }

  @Test("A step that fails leaves nothing of itself, and keeps those before it")
  func failing() throws {
    let connection = try database.connect()
    let steps = runner(
      Self.makeLog, "INSERT INTO @.log VALUES ('half'); CREATE TABLE @.half (); SELECT 1 / 0")
    let error = try #require(throws: PostgresError.self) { try steps.run(connection) }
    #expect(error.operation == "apply migration 2 (step_2)")
    #expect(try lines == ["one"])
    #expect(
      try database.number(
        "SELECT count(*) FROM pg_class WHERE relname = 'half' AND relnamespace = '@'::regnamespace") == 0)
    #expect(!connection.isInTransaction)
    #expect(try runner(Self.makeLog, Self.addTwo).run(connection).map(\.version) == [2])
  }

  @Test("A first step that fails leaves not even the table of migrations")
  func failingFirst() throws {
    #expect(throws: PostgresError.self) { try runner("SELECT 1 / 0").run(try database.connect()) }
    #expect(try database.number("SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace") == 0)
  }

  @Test("A database newer than the program is refused")
  func newer() throws {
    let connection = try database.connect()
    try runner(Self.makeLog, Self.addTwo).run(connection)
    #expect(throws: MigrationError.databaseIsNewer(applied: 2, known: 1)) {
      try runner(Self.makeLog).run(connection)
    }
    #expect(throws: MigrationError.databaseIsNewer(applied: 2, known: 1)) {
      try runner(Self.makeLog).pending(connection)
    }
  }

  @Test("A step that was edited after it was applied is refused, and nothing behind it is applied")
  func edited() throws {
    let connection = try database.connect()
    try runner(Self.makeLog).run(connection)
    #expect(throws: MigrationError.changedAfterwards(version: 1, name: "step_1")) {
      try runner(Self.makeLog + " -- harmless?", Self.addTwo).run(connection)
    }
    #expect(try lines == ["one"])
  }

  @Test("A table of the same name that somebody else made is refused and left as it is")
  func foreign() throws {
    let connection = try database.connect()
    let table = database.sql("@.log")
    try connection.execute(
      "CREATE TABLE \(table) (line text); INSERT INTO \(table) VALUES ('theirs')", operation: "make a table")
    #expect(throws: MigrationError.foreignTable(table)) {
      try runner(Self.makeLog, Self.addTwo).run(connection)
    }
    #expect(try lines == ["theirs"])
    #expect(
      try database.number(
        "SELECT count(*) FROM pg_class WHERE relnamespace = '@'::regnamespace AND relkind = 'r'") == 1)
  }
}
