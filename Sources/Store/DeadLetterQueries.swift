import Postgres
import Telemetry

/// Looks dead letters up and discards them. Not Sendable: as its connection.
public struct DeadLetterQueries {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  public struct ReasonCount: Encodable, Equatable, Sendable {
    public var reason: String
    public var records: Int64

    public init(reason: String, records: Int64) {
      self.reason = reason
      self.records = records
    }
  }

  /// Letters that one page of ``forEach(_:_:)`` reads at most, and their payloads in bytes, but for one that is larger.
  static let pageLetters = 500
  static let pageBytes = 16 << 20
  /// Letters that one transaction discards at most.
  static let discardedAtOnce = 10_000

  /// The latest that match, newest first.
  public func list(_ filter: DeadLetterFilter, limit: Int) throws(PostgresError) -> [DeadLetterSummary] {
    var parameters = Parameters()
    let condition = filter.condition(&parameters)
    parameters.append(Int64(limit))
    return try connection.query(
      """
      SELECT \(DeadLetterSummary.columns) FROM \(schema.deadLettersTable) WHERE \(condition)
      ORDER BY received_at DESC, id DESC LIMIT $\(parameters.count)
      """, parameters, operation: "list the dead letters"
    ).rows.map { DeadLetterSummary($0) }
  }

  /// How many match, by reason, the most first.
  public func counts(_ filter: DeadLetterFilter) throws(PostgresError) -> [ReasonCount] {
    var parameters = Parameters()
    let condition = filter.condition(&parameters)
    return try connection.query(
      """
      SELECT reason, count(*) FROM \(schema.deadLettersTable) WHERE \(condition)
      GROUP BY reason ORDER BY count(*) DESC, reason
      """, parameters, operation: "count the dead letters"
    ).rows.map { ReasonCount(reason: $0.text(0), records: $0.int(1)) }
  }

  /// One dead letter, resolved or not; nil where there is none.
  public func find(_ id: Int64) throws -> StoredDeadLetter? {
    var parameters = Parameters()
    parameters.append(id)
    let rows = try connection.query(
      "SELECT \(StoredDeadLetter.columns) FROM \(schema.deadLettersTable) WHERE id = $1", parameters,
      operation: "read a dead letter"
    ).rows
    return try rows.first.map { try StoredDeadLetter($0) }
  }

  /// Calls `body` with each that matches, by ascending id, page by page: memory does not grow with their number.
  /// Letters that come meanwhile are left out.
  public func forEach(_ filter: DeadLetterFilter, _ body: (StoredDeadLetter) throws -> Void) throws {
    let last = try lastID()
    var next: Int64 = 0
    while true {
      let rows = try page(
        StoredDeadLetter.columns, filter, after: next, through: last, letters: Self.pageLetters)
      for row in rows { try body(StoredDeadLetter(row)) }
      guard let end = rows.last else { return }
      next = end.int(0)
    }
  }

  /// Marks those that match and wait as discarded; returns how many there were. Each stays in the table until
  /// retention takes it.
  public func discard(_ filter: DeadLetterFilter) throws(PostgresError) -> Int {
    var waiting = filter
    waiting.state = .waiting
    let last = try lastID()
    var discarded = 0
    while true {
      let count = try discardSome(waiting, through: last)
      if count == 0 { return discarded }
      discarded += count
    }
  }

  /// Locked in the order of their ids, as a retry locks them.
  private func discardSome(_ filter: DeadLetterFilter, through last: Int64) throws(PostgresError) -> Int {
    var parameters = Parameters()
    let condition = filter.condition(&parameters)
    parameters.append(last)
    let update = Statement(
      """
      WITH picked AS (
        SELECT id FROM \(schema.deadLettersTable) WHERE \(condition) AND id <= $\(parameters.count)
        ORDER BY id LIMIT \(Self.discardedAtOnce) FOR UPDATE)
      UPDATE \(schema.deadLettersTable) AS d SET resolved_at = now(), resolution = 'discarded'
      FROM picked WHERE d.id = picked.id
      """, parameters, operation: "discard dead letters")
    return try connection.pipeline([
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.settings, update,
      Statement("COMMIT", operation: "commit the discarded dead letters"),
    ])[2].affected
  }

  /// The last id in use now, 0 where there is none.
  func lastID() throws(PostgresError) -> Int64 {
    try connection.query(
      "SELECT coalesce(max(id), 0) FROM \(schema.deadLettersTable)",
      operation: "read the last dead letter's id"
    ).rows[0].int(0)
  }

  /// The first that match with an id above `next` and at most `last`, by ascending id: up to so many, and up to
  /// ``pageBytes`` of payloads, but at least one. `columns` begin with the id.
  func page(
    _ columns: String, _ filter: DeadLetterFilter, after next: Int64, through last: Int64, letters: Int
  ) throws(PostgresError) -> [QueryResult.Row] {
    var parameters = Parameters()
    let condition = filter.condition(&parameters)
    parameters.append(next)
    let after = parameters.count
    parameters.append(last)
    // The inner query finds the page without reading payloads, which are stored apart from their rows.
    return try connection.query(
      """
      WITH first AS (
        SELECT id, payload_bytes FROM \(schema.deadLettersTable)
        WHERE \(condition) AND id > $\(after) AND id <= $\(after + 1) ORDER BY id LIMIT \(letters)
      ), sized AS (
        SELECT id, sum(payload_bytes) OVER (ORDER BY id) - payload_bytes AS bytes_before FROM first)
      SELECT \(columns) FROM \(schema.deadLettersTable) JOIN sized USING (id)
      WHERE bytes_before < \(Self.pageBytes) ORDER BY id
      """, parameters, operation: "read dead letters"
    ).rows
  }
}
