import Postgres
import TestSupport
import Testing

@Suite("Several statements in one flight")
struct PipelineTests {
  private let connection: Connection

  init() throws { connection = try TestDatabase(migrated: false).connect() }

  private func ask(_ sql: String, _ operation: String = "ask") -> Statement {
    Statement(sql, operation: operation)
  }

  @Test("Each statement gives its own result, in order")
  func results() throws {
    let results = try connection.pipeline([
      ask("SELECT 1"), ask("SELECT 2 WHERE false"), ask("VALUES (3), (4)"),
    ])
    #expect(results.map { $0.rows.map { $0.int(0) } } == [[1], [], [3, 4]])
  }

  @Test("The first failure is thrown, names its statement, skips the rest, and the connection goes on")
  func failureSkipsTheRest() throws {
    try connection.execute("CREATE TEMPORARY TABLE t (n integer)", operation: "make a table")
    let error = try #require(throws: PostgresError.self) {
      try connection.pipeline([
        ask("INSERT INTO t VALUES (1)"), ask("SELECT 1 / 0", "divide"), ask("INSERT INTO t VALUES (2)"),
        ask("SELECT no_such_column"),
      ])
    }
    #expect(error.sqlState == "22012")
    #expect(error.operation == "divide")
    #expect(!error.connectionLost)
    #expect(!connection.isInTransaction)
    // One flight without BEGIN is one implicit transaction.
    #expect(try connection.query("SELECT count(*) FROM t", operation: "count").rows[0].int(0) == 0)
    #expect(try connection.pipeline([ask("SELECT 7")])[0].rows[0].int(0) == 7)
  }

  @Test("A failure within a transaction leaves it to be rolled back to its savepoint, and committed")
  func failureInATransaction() throws {
    try connection.execute("CREATE TEMPORARY TABLE t (n integer)", operation: "make a table")
    try connection.pipeline([ask("BEGIN"), ask("INSERT INTO t VALUES (1)"), ask("SAVEPOINT s")])
    #expect(throws: PostgresError.self) {
      try connection.pipeline([ask("INSERT INTO t VALUES (2)"), ask("SELECT 1 / 0"), ask("COMMIT")])
    }
    #expect(connection.isInTransaction)
    try connection.execute("ROLLBACK TO SAVEPOINT s", operation: "go back")
    try connection.pipeline([ask("INSERT INTO t VALUES (3)"), ask("COMMIT")])
    #expect(!connection.isInTransaction)
    #expect(
      try connection.query("SELECT n FROM t ORDER BY n", operation: "read").rows.map { $0.int(0) } == [1, 3])
  }

  @Test("A flight of many megabytes each way does not block itself")
  func largeFlight() throws {
    var parameters = Parameters()
    parameters.append(String(repeating: "x", count: 4 << 20))
    let echo = Statement("SELECT $1", parameters, operation: "echo")
    let results = try connection.pipeline([Statement](repeating: echo, count: 8))
    #expect(results.map { $0.rows[0].text(0).utf8.count } == [Int](repeating: 4 << 20, count: 8))
  }

  @Test("An error tells what failed, why, and what the server adds")
  func errorFields() throws {
    try connection.execute(
      "CREATE TEMPORARY TABLE t (n integer CONSTRAINT positive CHECK (n > 0))", operation: "make a table")
    let error = try #require(throws: PostgresError.self) {
      try connection.execute("INSERT INTO t VALUES (-1)", operation: "insert a number")
    }
    #expect(error.sqlState == .checkViolation)
    #expect(error.constraint == "positive")
    #expect(error.description.hasPrefix("could not insert a number: "))
    #expect(error.description.contains("(SQLSTATE 23514), constraint positive"))
    #expect(error.detail?.contains("-1") == true)
    #expect(!error.description.contains("-1"))
  }
}
