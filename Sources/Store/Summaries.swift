import Postgres

/// The two summary views.
public enum SummaryView: String, CaseIterable, Sendable {
  case domains = "chat_telemetry_domain_summary"
  case models = "chat_telemetry_model_summary"
}

/// What is known of one view before a refresh is decided.
public struct ViewState: Equatable, Sendable {
  public var view: SummaryView
  /// Start of the last refresh that succeeded, whoever caused it, in microseconds since the Unix epoch; nil when there
  /// was none. What was committed before is shown.
  public var lastStartMicros: Int64?
  /// Its end.
  public var lastFinishMicros: Int64?
  /// Events stored since, by all workers, exactly.
  public var pendingEvents: Int64
}

/// What waits to be folded and refreshed.
public struct SummaryState: Equatable, Sendable {
  public var views: [ViewState]
  /// Delta rows that were not folded yet: the fold's cost.
  public var pendingDeltaRows: Int64
  /// Sketches of days that folds have left to be settled.
  public var daySketchDeltas: Int64
  /// Whether a trailing window holds events, so that it moves although nothing is stored.
  public var windowsMove: Bool
  /// The server's clock, in microseconds since the Unix epoch.
  public var nowMicros: Int64

  /// Events that some view does not show yet.
  public var pendingEvents: Int64 { views.map(\.pendingEvents).max() ?? 0 }
}

/// One view's part of a refresh.
public struct RefreshOutcome: Equatable, Sendable {
  public var view: SummaryView
  public var milliseconds: Double
  /// Nil when it succeeded.
  public var error: String?
}

/// Folding and refreshing, as the coordinator and the `refresh` command do it. Not Sendable: as its connection.
public struct Summaries {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  /// Looks at what is pending; cheap enough for every second.
  public func state() throws(PostgresError) -> SummaryState {
    let rows = try connection.query(
      """
      WITH pending AS (
        SELECT coalesce(sum(events), 0)::bigint AS events, coalesce(sum(delta_rows), 0)::bigint AS delta_rows
        FROM \(schema.pendingBatchesTable)
      )
      SELECT r.view_name, \(micros("r.refreshed_at")), \(micros("r.finished_at")),
        f.folded_events - r.folded_events + p.events, p.delta_rows,
        EXISTS (
          SELECT FROM \(schema.windowHoursTable)
          WHERE kind IN ('domain', 'model') AND start > now() - interval '169 hours'),
        \(micros("clock_timestamp()")), f.day_sketch_deltas
      FROM \(schema.table("chat_telemetry_refresh_state")) AS r
      CROSS JOIN \(schema.table("chat_telemetry_fold_state")) AS f CROSS JOIN pending AS p
      ORDER BY r.view_name
      """, operation: "look at what is pending"
    ).rows
    let views = rows.compactMap { row in
      SummaryView(rawValue: row.text(0)).map {
        ViewState(
          view: $0, lastStartMicros: row.intOrNil(1), lastFinishMicros: row.intOrNil(2),
          pendingEvents: row.int(3))
      }
    }
    return SummaryState(
      views: views, pendingDeltaRows: rows.first?.int(4) ?? 0,
      daySketchDeltas: rows.first?.int(7) ?? 0, windowsMove: rows.first?.bool(5) ?? false,
      nowMicros: rows.first?.int(6) ?? 0)
  }

  /// Folds what is pending; returns batches, events and delta rows.
  public func fold() throws(PostgresError) -> (batches: Int64, events: Int64, deltaRows: Int64) {
    let row = try connection.transaction(
      Statement(
        "SELECT * FROM \(schema.table("chat_telemetry_fold"))()", operation: "fold what is pending")
    ).rows[0]
    return (row.int(0), row.int(1), row.int(2))
  }

  /// Adds the sketches that folds have left to the day rows; takes longer than a fold, and nothing waits for it.
  public func settleDaySketches() throws(PostgresError) {
    _ = try connection.transaction(
      Statement(
        "SELECT \(schema.table("chat_telemetry_settle_day_sketches"))()",
        operation: "settle the sketches of days"))
  }

  /// Folds and refreshes one view, or both; an error of a view is in its outcome.
  public func refresh(_ view: SummaryView?, cause: String) throws(PostgresError) -> [RefreshOutcome] {
    var parameters = Parameters()
    parameters.append(view?.rawValue)
    parameters.append(cause)
    let function = schema.table("refresh_telemetry_summary_views")
    return try connection.transaction(
      Statement(
        "SELECT view_name, refresh_time_ms, status FROM \(function)($1, $2)", parameters,
        operation: "refresh the summary views")
    ).rows.compactMap { row in
      SummaryView(rawValue: row.text(0)).map {
        RefreshOutcome(
          view: $0, milliseconds: Double(row.text(1)) ?? 0,
          error: row.text(2) == "SUCCESS" ? nil : row.text(2))
      }
    }
  }

  private func micros(_ time: String) -> String { "(extract(epoch FROM \(time)) * 1000000)::bigint" }
}

extension Connection {
  /// Runs one statement in a transaction of its own, in one flight. A failure leaves no transaction open.
  func transaction(_ statement: Statement) throws(PostgresError) -> QueryResult {
    do throws(PostgresError) {
      return try pipeline([
        Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
        IngestTransaction.settings,
        statement,
        Statement("COMMIT", operation: "commit: \(statement.operation)"),
      ])[2]
    } catch {
      // The COMMIT was skipped with everything else behind the failure.
      if !error.connectionLost, isInTransaction { try execute("ROLLBACK", operation: "roll back") }
      throw error
    }
  }
}
