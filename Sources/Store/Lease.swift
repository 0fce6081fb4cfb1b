import Postgres

/// The coordinator's lease: a row with an expiry by the server's clock. It needs no session state, so it works through
/// a pooler in transaction mode. Two holders at once would do no harm, for fold and refresh lock and count by
/// themselves; the lease only keeps replicas from doing the same work.
public struct Lease {
  let connection: Connection
  let schema: Schema
  /// Tells one process from another.
  let holder: String
  /// Seconds that a lease lasts unless it is renewed.
  let seconds: Int32

  static let name = "coordinator"

  public init(connection: Connection, schema: Schema, holder: String, seconds: Int32 = 10) {
    self.connection = connection
    self.schema = schema
    self.holder = holder
    self.seconds = seconds
  }

  /// Takes the lease if it is free or has run out, renews it if it is ours. Returns whether it is ours now.
  public func takeOrRenew() throws(PostgresError) -> Bool {
    var parameters = Parameters()
    parameters.append(Self.name)
    parameters.append(holder)
    parameters.append(seconds)
    let result = try connection.transaction(
      Statement(
        """
        INSERT INTO \(schema.table("chat_telemetry_lease")) AS l (name, holder, acquired_at, renewed_at, expires_at)
        VALUES ($1, $2, clock_timestamp(), clock_timestamp(), clock_timestamp() + make_interval(secs => $3))
        ON CONFLICT (name) DO UPDATE SET
          acquired_at = CASE WHEN l.holder = excluded.holder THEN l.acquired_at ELSE excluded.acquired_at END,
          holder = excluded.holder, renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
        WHERE l.holder = excluded.holder OR l.expires_at < clock_timestamp()
        RETURNING holder
        """, parameters, operation: "take the coordinator's lease"))
    return !result.rows.isEmpty
  }

  /// Gives the lease up, if it is ours, so that another replica takes it at once.
  public func release() throws(PostgresError) {
    var parameters = Parameters()
    parameters.append(Self.name)
    parameters.append(holder)
    _ = try connection.transaction(
      Statement(
        "DELETE FROM \(schema.table("chat_telemetry_lease")) WHERE name = $1 AND holder = $2", parameters,
        operation: "release the coordinator's lease"))
  }
}
