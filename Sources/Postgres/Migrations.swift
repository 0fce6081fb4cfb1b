/// One versioned step of a schema.
public struct Migration: Sendable {
  /// Counts from 1, without gaps.
  public var version: Int
  public var name: String
  /// One or more statements, run in one transaction.
  public var sql: String

  public init(version: Int, name: String, sql: String) {
    self.version = version
    self.name = name
    self.sql = sql
  }
}

/// Why a schema cannot be brought up to date.
public enum MigrationError: Error, Equatable, CustomStringConvertible {
  case databaseIsNewer(applied: Int, known: Int)
  case changedAfterwards(version: Int, name: String)
  case foreignTable(String)

  public var description: String {
    switch self {
    case .databaseIsNewer(let applied, let known):
      "the database is at migration \(applied), this program knows \(known): run a newer version of the program"
    case .changedAfterwards(let version, let name):
      "migration \(version) (\(name)) was applied in another form than this program holds: "
        + "the schema was made by another build; use that one, or another schema (postgres.schema)"
    case .foreignTable(let table):
      "there is a table \(table) that this program did not make: "
        + "rename it, or set postgres.schema to another schema; it is left untouched"
    }
  }
}

/// Brings a schema up to date: each migration in a transaction of its own, one program at a time, each once.
public struct MigrationRunner: Sendable {
  /// Quoted name of the table that remembers what was applied, with its schema.
  public var table: String
  /// A table that must not exist before the first migration.
  public var guardedTable: String
  public var migrations: [Migration]

  public init(table: String, guardedTable: String, migrations: [Migration]) {
    self.table = table
    self.guardedTable = guardedTable
    self.migrations = migrations
  }

  /// What `run` would apply, in order. Changes nothing.
  public func pending(_ connection: Connection) throws -> [Migration] {
    let applied = try appliedVersions(connection)
    try check(applied, connection)
    return migrations.filter { applied[$0.version] == nil }
  }

  /// Applies what is missing and returns it. `onApplied` is called after each commit.
  @discardableResult
  public func run(_ connection: Connection, onApplied: (Migration) -> Void = { _ in }) throws -> [Migration] {
    var done: [Migration] = []
    while let next = try applyNext(connection) {
      onApplied(next)
      done.append(next)
    }
    return done
  }

  private func applyNext(_ connection: Connection) throws -> Migration? {
    // Whoever waited for the lock must see what its holder committed, whatever the role defaults to.
    try connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a migration")
    do {
      // Held to the end of the transaction, so that a second migrating program waits and then finds it done.
      var key = Parameters()
      key.append(table)
      try connection.query(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", key, operation: "lock the migrations")
      guard let next = try pending(connection).first else {
        try connection.execute("COMMIT", operation: "end a migration")
        return nil
      }
      try apply(next, connection)
      try connection.execute("COMMIT", operation: "commit migration \(next.version) (\(next.name))")
      return next
    } catch {
      if connection.isUsable { _ = try? connection.execute("ROLLBACK", operation: "roll a migration back") }
      throw error
    }
  }

  private func apply(_ migration: Migration, _ connection: Connection) throws {
    try connection.execute(
      """
      CREATE TABLE IF NOT EXISTS \(table) (
        version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now())
      """, operation: "make the table of migrations")
    try connection.execute(
      migration.sql, operation: "apply migration \(migration.version) (\(migration.name))")
    var record = Parameters()
    record.append(Int32(migration.version))
    record.append(migration.name)
    record.append(migration.sql)
    try connection.query(
      "INSERT INTO \(table) (version, name, checksum) VALUES ($1, $2, md5($3))", record,
      operation: "record migration \(migration.version)")
  }

  /// Version → checksum of what was applied.
  private func appliedVersions(_ connection: Connection) throws -> [Int: String] {
    var name = Parameters()
    name.append(table)
    let exists = try connection.query(
      "SELECT to_regclass($1) IS NOT NULL", name, operation: "look for the table of migrations")
    guard exists.rows[0].bool(0) else { return [:] }
    let rows = try connection.query(
      "SELECT version, checksum FROM \(table)", operation: "read the applied migrations"
    ).rows
    return Dictionary(uniqueKeysWithValues: rows.map { (Int($0.int(0)), $0.text(1)) })
  }

  private func check(_ applied: [Int: String], _ connection: Connection) throws {
    let known = migrations.map(\.version).max() ?? 0
    if let newest = applied.keys.max(), newest > known {
      throw MigrationError.databaseIsNewer(applied: newest, known: known)
    }
    if applied.isEmpty {
      var name = Parameters()
      name.append(guardedTable)
      let foreign = try connection.query(
        "SELECT to_regclass($1) IS NOT NULL", name, operation: "look for \(guardedTable)")
      if foreign.rows[0].bool(0) { throw MigrationError.foreignTable(guardedTable) }
    }
    for migration in migrations {
      guard let checksum = applied[migration.version] else { continue }
      var text = Parameters()
      text.append(migration.sql)
      let same = try connection.query("SELECT md5($1)", text, operation: "compare a migration").rows[0].text(
        0)
      if same != checksum {
        throw MigrationError.changedAfterwards(version: migration.version, name: migration.name)
      }
    }
  }
}
