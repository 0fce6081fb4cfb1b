import Postgres

/// What the worker's role needs, which is less than what the owner of the schema has.
public struct Grants {
  let schema: Schema

  public init(schema: Schema) { self.schema = schema }

  /// Tables, and what the worker does with them.
  public static let tables: [(name: String, privileges: String)] = [
    ("chat_telemetry", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_days", "SELECT, UPDATE"),
    ("chat_telemetry_rollups", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_rollups_hour", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_rollups_day", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_domain_rollups", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_domain_rollups_hour", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_domain_rollups_day", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_model_rollups", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_model_rollups_hour", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_model_rollups_day", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_summary_deltas", "SELECT, INSERT, DELETE"),
    ("chat_telemetry_sketch_deltas", "SELECT, INSERT, DELETE"),
    ("chat_telemetry_window_deltas", "SELECT, INSERT, DELETE"),
    ("chat_telemetry_pending_batches", "SELECT, INSERT, DELETE"),
    ("chat_telemetry_offsets", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_dead_letters", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_backfill_jobs", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_backfill_partitions", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_migrations", "SELECT"),
    ("chat_telemetry_totals", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_sketches", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_day_sketch_deltas", "SELECT, DELETE"),
    ("chat_telemetry_window_days", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_window_hours", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_fold_state", "SELECT, UPDATE"),
    ("chat_telemetry_settled_rollups", "SELECT"),
    ("chat_telemetry_refresh_state", "SELECT"),
    ("chat_telemetry_refresh_log", "SELECT, INSERT, DELETE"),
    ("chat_telemetry_lease", "SELECT, INSERT, UPDATE, DELETE"),
    ("chat_telemetry_domain_summary", "SELECT"),
    ("chat_telemetry_model_summary", "SELECT"),
  ]

  /// Functions with their argument types.
  public static let functions = [
    "chat_telemetry_ensure_days(date[])", "chat_telemetry_fold()",
    "chat_telemetry_settle_day_sketches()",
    "refresh_telemetry_summary_views(text, text)",
    "chat_telemetry_droppable_days(integer)", "chat_telemetry_drop_raw_day(integer, integer)",
    "chat_telemetry_drop_hour_rollups(integer, integer)",
    "chat_telemetry_settle_day_rollups(integer, integer)",
  ]

  /// Gives a role what the worker needs, and no more. Whoever calls it must own the tables.
  public func give(to role: String, _ connection: Connection) throws(PostgresError) {
    var name = Parameters()
    name.append(role)
    let quoted = try connection.query("SELECT quote_ident($1)", name, operation: "quote a role").rows[0].text(
      0)
    var statements = ["GRANT USAGE ON SCHEMA \(schema.quoted) TO \(quoted)"]
    statements += Self.tables.map { "GRANT \($0.privileges) ON \(schema.table($0.name)) TO \(quoted)" }
    statements += Self.functions.map { "GRANT EXECUTE ON FUNCTION \(schema.table($0)) TO \(quoted)" }
    try connection.execute(
      "BEGIN; \(statements.joined(separator: "; ")); COMMIT", operation: "grant to \(role)")
  }

  /// What the connected role lacks, as `privilege on object`.
  public func missing(_ connection: Connection) throws(PostgresError) -> [String] {
    var parameters = Parameters()
    let wanted = Self.tables.flatMap { table in
      table.privileges.split(separator: ", ").map { (table: table.name, privilege: String($0)) }
    }
    parameters.array(of: .text, count: wanted.count)
    for each in wanted { parameters.element(schema.table(each.table)) }
    parameters.array(of: .text, count: wanted.count)
    for each in wanted { parameters.element(each.privilege) }
    let tables = try connection.query(
      """
      SELECT u.privilege || ' on ' || u.name FROM unnest($1, $2) AS u (name, privilege)
      WHERE to_regclass(u.name) IS NOT NULL AND NOT has_table_privilege(to_regclass(u.name), u.privilege)
      """, parameters, operation: "check the privileges on tables")
    var names = Parameters()
    names.array(of: .text, count: Self.functions.count)
    for function in Self.functions { names.element(schema.table(function)) }
    let functions = try connection.query(
      """
      SELECT 'EXECUTE on ' || name FROM unnest($1) AS u (name)
      WHERE to_regprocedure(name) IS NOT NULL AND NOT has_function_privilege(to_regprocedure(name), 'EXECUTE')
      """, names, operation: "check the privileges on functions")
    return (tables.rows + functions.rows).map { $0.text(0) }
  }
}

extension Grants {
  /// The owners of the summary views who may not make temporary tables, as quoted identifiers. Without that REFRESH
  /// MATERIALIZED VIEW CONCURRENTLY fails, and with it every refresh but the first: it fills a temporary table with the
  /// rights of the view's owner, whoever calls it.
  public func viewOwnersWithoutTemporaryTables(
    _ connection: Connection
  ) throws(PostgresError) -> [(role: String, database: String)] {
    var parameters = Parameters()
    parameters.array(of: .text, count: SummaryView.allCases.count)
    for view in SummaryView.allCases { parameters.element(schema.table(view.rawValue)) }
    return try connection.query(
      """
      SELECT DISTINCT quote_ident(pg_get_userbyid(c.relowner)), quote_ident(current_database())
      FROM unnest($1) AS u (name) JOIN pg_class AS c ON c.oid = to_regclass(u.name)
      WHERE NOT has_database_privilege(c.relowner, current_database(), 'TEMPORARY')
      """, parameters, operation: "check who may make temporary tables"
    ).rows.map { (role: $0.text(0), database: $0.text(1)) }
  }
}

extension Schema {
  /// Makes the schema itself where it is missing.
  public func create(_ connection: Connection) throws(PostgresError) {
    var parameters = Parameters()
    parameters.append(name)
    let exists = try connection.query(
      "SELECT to_regnamespace($1) IS NOT NULL", parameters, operation: "look for the schema")
    if exists.rows[0].bool(0) { return }
    try connection.execute("CREATE SCHEMA IF NOT EXISTS \(quoted)", operation: "make the schema \(name)")
  }
}
