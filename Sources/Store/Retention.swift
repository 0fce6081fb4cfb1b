import Postgres

/// What a step of retention did to a day.
public struct DroppedPart: Equatable, Sendable {
  /// The UTC day, as `2026-03-01`.
  public var day: String
  /// Rows that this step deleted.
  public var rows: Int64
  /// Rows of that day that all steps have deleted; nil while some are left.
  public var wholeDay: Int64?

  public init(day: String, rows: Int64, wholeDay: Int64?) {
    self.day = day
    self.rows = rows
    self.wholeDay = wholeDay
  }
}

/// The steps of retention: each is one short transaction, and calling it again goes on from there. They know by
/// themselves what may go, so several callers at once do no harm. Not Sendable: as its connection.
///
/// A step that found a lock taken throws a `PostgresError` with `lockNotAvailable`, and nothing has changed.
public struct Retention {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  /// Drops the raw rows of the oldest day that ended at least `days` days ago and was not written for a day; nil when
  /// there is none.
  ///
  /// - Parameter lockWaitMs: How long to wait for the raw table, in milliseconds. Batches wait behind that.
  public func dropRawDay(days: Int, lockWaitMs: Int) throws(PostgresError) -> DroppedPart? {
    let row = try call("chat_telemetry_drop_raw_day", days, lockWaitMs, operation: "drop a day of raw rows")
    return row[0].map { DroppedPart(day: $0, rows: row.int(1), wholeDay: row.int(1)) }
  }

  /// Deletes up to `rowLimit` hour rollups of the oldest day that ended at least `days` days ago and whose raw rows
  /// are gone; nil when there is none.
  public func dropHourRollups(days: Int, rowLimit: Int) throws(PostgresError) -> DroppedPart? {
    try dropRollups("chat_telemetry_drop_hour_rollups", days, rowLimit, operation: "delete old hour rollups")
  }

  /// Merges up to `rowLimit` day rollups of the oldest day that ended at least `days` days ago, and whose hour rollups
  /// are gone, into the settled rows and deletes them; nil when there is none.
  public func settleDayRollups(days: Int, rowLimit: Int) throws(PostgresError) -> DroppedPart? {
    try dropRollups("chat_telemetry_settle_day_rollups", days, rowLimit, operation: "settle old day rollups")
  }

  /// Deletes up to `rowLimit` dead letters that came at least `days` days ago, whether or not somebody resolved them.
  /// One that is being retried stays for now.
  public func deleteDeadLetters(
    days: Int, rowLimit: Int
  ) throws(PostgresError) -> (resolved: Int64, unresolved: Int64) {
    let table = schema.deadLettersTable
    let row = try connection.transaction(
      Statement(
        """
        WITH deleted AS (
          DELETE FROM \(table) WHERE id = ANY (ARRAY (
            SELECT id FROM \(table) WHERE received_at <= now() - make_interval(days => $1)
            ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED))
          RETURNING resolved_at)
        SELECT count(resolved_at), count(*) - count(resolved_at) FROM deleted
        """, parameters(days, rowLimit), operation: "delete old dead letters")
    ).rows[0]
    return (row.int(0), row.int(1))
  }

  /// Forgets refreshes that ended at least `days` days ago, among the `rowLimit` oldest of the log; each view's last
  /// success stays. Returns how many.
  public func trimRefreshLog(days: Int, rowLimit: Int) throws(PostgresError) -> Int64 {
    let log = schema.table("chat_telemetry_refresh_log")
    return Int64(
      try connection.transaction(
        Statement(
          """
          DELETE FROM \(log) WHERE id IN (
            SELECT l.id FROM (SELECT id, finished_at FROM \(log) ORDER BY id LIMIT $2) AS l
            WHERE l.finished_at <= now() - make_interval(days => $1)
              AND l.id NOT IN (SELECT max(id) FROM \(log) WHERE status = 'SUCCESS' GROUP BY view_name))
          """, parameters(days, rowLimit), operation: "trim the refresh log")
      ).affected)
  }

  // MARK: Calling

  private func dropRollups(
    _ function: String, _ days: Int, _ rowLimit: Int, operation: String
  ) throws(PostgresError) -> DroppedPart? {
    let row = try call(function, days, rowLimit, operation: operation)
    return row[0].map { DroppedPart(day: $0, rows: row.int(1), wholeDay: row.bool(3) ? row.int(2) : nil) }
  }

  private func call(
    _ function: String, _ first: Int, _ second: Int, operation: String
  ) throws(PostgresError) -> QueryResult.Row {
    try connection.transaction(
      Statement(
        "SELECT * FROM \(schema.table(function))($1, $2)", parameters(first, second), operation: operation)
    ).rows[0]
  }

  private func parameters(_ first: Int, _ second: Int) -> Parameters {
    var parameters = Parameters()
    parameters.append(Int32(first))
    parameters.append(Int32(second))
    return parameters
  }
}
