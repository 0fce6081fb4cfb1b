import Postgres

/// Reads how things stand, for `status`, `refresh --check` and the HTTP API. Not Sendable: as its connection.
public struct StatusReader {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  public struct View: Encodable, Sendable {
    public var name: String
    public var rows: Int64
    public var bytes: Int64
    /// RFC 3339 in UTC.
    public var lastRefreshedAt: String?
    public var ageSeconds: Double?
    public var lastRefreshMs: Double?
    public var pendingEvents: Int64
    public var lastError: String?
    public var stale: Bool
  }

  public struct Position: Encodable, Sendable {
    public var group: String
    public var topic: String
    public var partition: Int32
    public var nextOffset: Int64
    /// The broker's end; nil when it was not asked.
    public var endOffset: Int64?
    public var lagRecords: Int64?
    /// Age of the last record stored, where there is a lag.
    public var lagSeconds: Double?
    public var lastRecordAgeSeconds: Double?
    public var updatedAt: String
  }

  public struct Coordinator: Encodable, Sendable {
    public var holder: String
    public var since: String
    public var expiresInSeconds: Double
  }

  public struct DeadLetters: Encodable, Sendable {
    public var reason: String
    public var unresolved: Int64
    public var last24Hours: Int64
  }

  public struct Retention: Encodable, Sendable {
    /// Days that have a partition of raw rows, tomorrow's too.
    public var rawDays: Int64
    /// As `2026-03-01`, in UTC.
    public var oldestRawDay: String?
    /// When the next raw day may go; nil when all are kept.
    public var nextDropAt: String?
    /// Raw days that may go already: somebody holds a lock on them, or nobody coordinates.
    public var overdueDays: Int64
    public var droppedDays: Int64
    /// Events that came after their day was dropped.
    public var lateEvents: Int64
  }

  private static let time = "YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\""

  private func text(_ time: String) -> String { "to_char(\(time) AT TIME ZONE 'UTC', '\(Self.time)')" }

  /// The views; one is stale when it was never refreshed, or when it is older than that while events wait for it.
  public func views(maxAgeSeconds: Double) throws(PostgresError) -> [View] {
    let states = try Summaries(connection: connection, schema: schema).state().views
    var views: [View] = []
    for state in states {
      var parameters = Parameters()
      parameters.append(schema.table(state.view.rawValue))
      parameters.append(state.view.rawValue)
      let row = try connection.query(
        """
        SELECT pg_total_relation_size(c.oid), c.relispopulated,
          \(text("r.refreshed_at")), extract(epoch FROM now() - r.refreshed_at),
          (SELECT l.refresh_time_ms FROM \(schema.table("chat_telemetry_refresh_log")) AS l
            WHERE l.view_name = $2 AND l.status = 'SUCCESS' ORDER BY l.started_at DESC LIMIT 1),
          (SELECT nullif(l.status, 'SUCCESS') FROM \(schema.table("chat_telemetry_refresh_log")) AS l
            WHERE l.view_name = $2 ORDER BY l.started_at DESC LIMIT 1)
        FROM pg_class AS c, \(schema.table("chat_telemetry_refresh_state")) AS r
        WHERE c.oid = $1::regclass AND r.view_name = $2
        """, parameters, operation: "read the state of \(state.view.rawValue)"
      ).rows[0]
      let isPopulated = row.bool(1)
      let count =
        isPopulated
        ? try connection.query(
          "SELECT count(*) FROM \(schema.table(state.view.rawValue))",
          operation: "count \(state.view.rawValue)"
        ).rows[0].int(0) : 0
      let age = row[3].flatMap { Double($0) }
      views.append(
        View(
          name: state.view.rawValue, rows: count, bytes: row.int(0), lastRefreshedAt: row[2], ageSeconds: age,
          lastRefreshMs: row[4].flatMap { Double($0) }, pendingEvents: state.pendingEvents, lastError: row[5],
          stale: !isPopulated || (state.pendingEvents > 0 && (age ?? .infinity) > maxAgeSeconds)))
    }
    return views
  }

  public struct Backfill: Encodable, Sendable {
    public var job: String
    public var startedAt: String
    /// Offsets from the start to the end.
    public var records: Int64
    public var remaining: Int64
  }

  /// Backfills that are not done, be they at work or stopped.
  public func backfills() throws(PostgresError) -> [Backfill] {
    try connection.query(
      """
      SELECT j.job, \(text("j.started_at")), sum(p.end_offset - p.start_offset),
        sum(greatest(p.end_offset - coalesce(o.next_offset, p.start_offset), 0))
      FROM \(schema.backfillJobsTable) AS j JOIN \(schema.backfillPartitionsTable) AS p USING (job)
      LEFT JOIN \(schema.offsetsTable) AS o USING (consumer_group, topic, partition)
      WHERE j.finished_at IS NULL GROUP BY j.job ORDER BY j.started_at, j.job
      """, operation: "read the backfills"
    ).rows.map { Backfill(job: $0.text(0), startedAt: $0.text(1), records: $0.int(2), remaining: $0.int(3)) }
  }

  /// Every stored position of a live group, without the brokers' part.
  public func positions() throws(PostgresError) -> [Position] {
    try connection.query(
      """
      SELECT consumer_group, topic, partition, next_offset, extract(epoch FROM now() - last_record_at),
        \(text("updated_at"))
      FROM \(schema.offsetsTable)
      WHERE consumer_group NOT IN (SELECT consumer_group FROM \(schema.backfillJobsTable))
      ORDER BY consumer_group, topic, partition
      """, operation: "read the positions"
    ).rows.map { row in
      Position(
        group: row.text(0), topic: row.text(1), partition: Int32(row.int(2)), nextOffset: row.int(3),
        lastRecordAgeSeconds: row[4].flatMap { Double($0) }, updatedAt: row.text(5))
    }
  }

  /// Who holds the lease now; nil when nobody does.
  public func coordinator() throws(PostgresError) -> Coordinator? {
    try connection.query(
      """
      SELECT holder, \(text("acquired_at")), extract(epoch FROM expires_at - clock_timestamp())
      FROM \(schema.table("chat_telemetry_lease"))
      WHERE name = '\(Lease.name)' AND expires_at >= clock_timestamp()
      """, operation: "read the coordinator's lease"
    ).rows.first.map { row in
      Coordinator(holder: row.text(0), since: row.text(1), expiresInSeconds: Double(row.text(2)) ?? 0)
    }
  }

  /// The days of raw rows, and those that retention dropped; `rawDays` is how long they are kept, 0 for ever.
  public func retention(rawDays: Int) throws(PostgresError) -> Retention {
    var parameters = Parameters()
    parameters.append(Int32(rawDays))
    let row = try connection.query(
      """
      SELECT count(*) FILTER (WHERE dropped_at IS NULL), min(day) FILTER (WHERE dropped_at IS NULL),
        \(text("next.at")), next.overdue, count(dropped_at), coalesce(sum(late_events), 0)
      FROM \(schema.daysTable), (
        SELECT min(droppable_at) AS at, count(*) FILTER (WHERE droppable_at <= now()) AS overdue
        FROM \(schema.table("chat_telemetry_droppable_days"))($1)) AS next
      GROUP BY next.at, next.overdue
      """, parameters, operation: "read the days of raw rows"
    ).rows.first
    return Retention(
      rawDays: row?.int(0) ?? 0, oldestRawDay: row?[1], nextDropAt: row?[2], overdueDays: row?.int(3) ?? 0,
      droppedDays: row?.int(4) ?? 0, lateEvents: row?.int(5) ?? 0)
  }

  /// Dead letters that wait for somebody, by reason.
  public func deadLetters() throws(PostgresError) -> [DeadLetters] {
    try connection.query(
      """
      SELECT reason, count(*), count(*) FILTER (WHERE received_at > now() - interval '24 hours')
      FROM \(schema.deadLettersTable) WHERE resolved_at IS NULL GROUP BY reason ORDER BY 2 DESC, 1
      """, operation: "count the dead letters"
    ).rows.map { DeadLetters(reason: $0.text(0), unresolved: $0.int(1), last24Hours: $0.int(2)) }
  }
}
