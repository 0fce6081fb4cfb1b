import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("The schema")
struct SchemaTests {
  @Test("Every migration applies, again and in any schema, and no function is PUBLIC's to execute")
  func migrations() throws {
    let stage = try Stage()
    let runner = stage.database.schema.migrationRunner
    #expect(runner.migrations.map(\.version) == Array(1...runner.migrations.count))
    #expect(try runner.run(try stage.database.connect()).isEmpty)
    let functions = try stage.database.rows(
      """
      SELECT p.proname,
        p.prosecdef <= coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false),
        EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0)
      FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace('@')
      """)
    #expect(!functions.isEmpty)
    // A function with its owner's rights has a fixed search_path.
    for function in functions { #expect(Array(function.dropFirst()) == ["t", "f"], "\(function)") }
  }

  @Test("Whoever cannot own the tables is refused by the server, and nothing is left")
  func withoutOwnership() throws {
    let stage = try Stage(migrated: false)
    let role = stage.database.role("nobody")
    try stage.database.rows("CREATE ROLE \(role) LOGIN; GRANT USAGE ON SCHEMA @ TO \(role)")
    let error = try #require(throws: PostgresError.self) {
      try stage.database.schema.migrationRunner.run(try Connection(stage.database.options(user: role)))
    }
    #expect(error.sqlState == .insufficientPrivilege)
    #expect(
      try stage.database.number("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('@')")
        == 0)
  }

  @Test("A chat_telemetry that somebody else made is refused and left as it is")
  func foreignTable() throws {
    let stage = try Stage(migrated: false)
    try stage.database.rows("CREATE TABLE @.chat_telemetry (theirs text)")
    #expect(throws: MigrationError.foreignTable(stage.database.sql("@.chat_telemetry"))) {
      try stage.database.schema.migrationRunner.run(try stage.database.connect())
    }
    #expect(try stage.database.rows("SELECT theirs FROM @.chat_telemetry") == [])
  }

  @Test(
    "Any name of lower-case letters, digits and _ is a schema's, reserved words too",
    arguments: ["user", "_1"])
  func anyName(name: String) throws {
    let stage = try Stage(migrated: false)
    let schema = try Schema(name)
    let connection = try stage.database.connect()
    try schema.create(connection)
    try schema.create(connection)
    try schema.migrationRunner.run(connection)
    let store = BatchStore(
      connection: connection, options: stage.database.options, schema: schema, group: "test", recentKeys: 10,
      onHolderEnded: { _, _ in })
    try store.positions.insertStarts(
      [TopicPartitionName(topic: Stage.topic, partition: 0): 0], clusterID: nil)
    let writer = Writer(store: store, positions: try store.positions.load(topics: [Stage.topic]))
    #expect(try writer.commit(stage.events(10, seed: 1)).stored == [10])
  }

  @Test(
    "Any other name is refused before it reaches the server",
    arguments: ["", "A", "1a", "a-b", "a.b", "a\"b", "é", "a b", String(repeating: "a", count: 64)])
  func refusedName(name: String) {
    #expect(throws: Schema.Failure.invalidName(name)) { try Schema(name) }
  }
}
