import Postgres

/// The schema is not what this program needs. Waiting would not mend it, so the worker says so and ends.
public struct SchemaNotMigrated: Error, Equatable, CustomStringConvertible {
  public var schema: String
  /// The migrations that are missing, as number and name.
  public var missing: [String]

  public var description: String {
    "the schema \(schema) lacks the migrations \(missing.joined(separator: ", ")): run telemetry-worker migrate"
  }
}

extension Schema {
  /// - Throws: `SchemaNotMigrated`; `MigrationError` where the schema is newer or not ours; `PostgresError`.
  public func refuseUnlessMigrated(_ connection: Connection) throws {
    let pending = try migrationRunner.pending(connection)
    guard !pending.isEmpty else { return }
    throw SchemaNotMigrated(schema: name, missing: pending.map { "\($0.version) \($0.name)" })
  }
}
