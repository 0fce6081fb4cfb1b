import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("The worker's role needs DML and EXECUTE only")
struct PrivilegeTests {
  private let stage: Stage
  private let role: String
  private let options: ConnectionOptions

  init() throws {
    stage = try Stage()
    role = stage.database.role("worker")
    options = stage.database.options(user: role)
    try stage.database.rows("CREATE ROLE \(role) LOGIN")
  }

  private var grants: Grants { Grants(schema: stage.database.schema) }

  @Test("With what is granted, and nothing else, everything that storing a batch takes is allowed")
  func storesBatches() throws {
    let admin = try stage.database.connect()
    try grants.give(to: role, admin)
    #expect(try grants.missing(try Connection(options)) == [])
    try stage.database.rows("SELECT @.chat_telemetry_ensure_days('{2026-03-01}')")
    try stage.database.rows(
      "UPDATE @.chat_telemetry_days SET dropped_at = now() WHERE day = '2026-03-01'")

    // New days, repeats found in the table, a dead letter of each kind, a second batch.
    let events = stage.events(200, seed: 1)
    try stage.writer().commit(Array(events[..<50]))
    let writer = try stage.writer(options: options, recentKeys: 1)
    var late = events[0]
    late.createdAtMs = 1_772_323_200_000
    let values =
      events.map(\.json) + ["bad", late.json, events[9].json(with: #""session_id":"s","logs":1e200000"#)]
    let summary = try writer.commit(values)
    #expect(summary.stored == [150])
    #expect(
      try stage.deadLetters("reason")
        == [["invalid_json"], ["before_retention"]]
        || stage.deadLetters("reason") == [["invalid_json"], ["before_retention"], ["rejected_by_database"]])
    #expect(try writer.commit(stage.events(10, seed: 2)).stored == [10])
    #expect(try writer.store.positions.load(topics: [Stage.topic]).count == 1)
    #expect(try stage.truth(events + stage.events(10, seed: 2)).differences(in: stage.database) == [])
  }

  @Test(
    "It may not make, change, empty or drop anything, nor read what is not the worker's",
    arguments: [
      "CREATE TABLE @.mine ()", "DROP TABLE @.chat_telemetry", "ALTER TABLE @.chat_telemetry ADD x int",
      "TRUNCATE @.chat_telemetry_offsets", "CREATE INDEX ON @.chat_telemetry (model)",
      "DROP FUNCTION @.chat_telemetry_ensure_days", "DELETE FROM @.chat_telemetry_days",
      "DELETE FROM @.chat_telemetry_migrations", "DROP SCHEMA @ CASCADE",
    ])
  func nothingElse(sql: String) throws {
    try grants.give(to: role, try stage.database.connect())
    let error = try #require(throws: PostgresError.self) {
      try Connection(options).execute(stage.database.sql(sql), operation: "overstep")
    }
    #expect(error.sqlState == .insufficientPrivilege)
  }

  @Test("What a role lacks is named, privilege by privilege")
  func missing() throws {
    try stage.database.rows("GRANT USAGE ON SCHEMA @ TO \(role)")
    let all = try grants.missing(try Connection(options))
    let onTables = Grants.tables.reduce(0) { $0 + $1.privileges.split(separator: ",").count }
    #expect(all.count == onTables + Grants.functions.count)
    try grants.give(to: role, try stage.database.connect())
    try stage.database.rows(
      """
      REVOKE UPDATE ON @.chat_telemetry_offsets FROM \(role);
      REVOKE EXECUTE ON FUNCTION @.chat_telemetry_ensure_days(date[]) FROM \(role)
      """)
    #expect(
      try grants.missing(try Connection(options)) == [
        stage.database.sql("UPDATE on @.chat_telemetry_offsets"),
        stage.database.sql("EXECUTE on @.chat_telemetry_ensure_days(date[])"),
      ])
  }

  @Test("A role's name is quoted, whatever it holds")
  func quotedRole() throws {
    let name = "\(role) \"; DROP SCHEMA \(stage.database.schema.name) CASCADE; --"
    try stage.database.rows("CREATE ROLE \"\(name.replacing("\"", with: "\"\""))\"")
    try grants.give(to: name, try stage.database.connect())
    #expect(try stage.storedCount == 0)
  }
}
