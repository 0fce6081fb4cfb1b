import Postgres
import Telemetry

/// What storing some events came to.
struct StoredRun {
  var events: Int
  /// From the first row to the last COMMIT.
  var seconds: Double
  var usage: ServerUsage
  /// CPU seconds of the server for a VACUUM ANALYZE afterwards, which autovacuum would do sooner or later.
  var vacuumCPUSeconds: Double
  var transactions: Int

  /// Notes it all for each event.
  func record(in findings: inout Findings, as subject: Subject) {
    let count = Double(events)
    findings.add(count / seconds, .rate, of: subject)
    findings.add(usage.cpuSeconds / count * 1e6, .postgresCPU, of: subject)
    findings.add(usage.walBytes / count, .wal, of: subject)
    findings.add(count / Double(transactions), .batch, of: subject)
    findings.add(vacuumCPUSeconds / count * 1e6, .vacuumCPU, of: subject)
  }
}

extension EncodedRows {
  static let columns = RawColumn.allCases.map(\.name).joined(separator: ", ")
}

extension EncodedRows.Batch {
  func copy(into connection: Connection, _ table: String) throws {
    try bytes.withUnsafeBytes { bytes in
      _ = try connection.copyIn(
        "COPY \(table) (\(EncodedRows.columns)) FROM STDIN (FORMAT binary)",
        operation: "copy rows into \(table)"
      ) { $0.send(bytes) }
    }
  }
}

extension Surroundings {
  /// Stores rows over one connection to a new database, and measures it.
  func measureStoring(
    _ rows: EncodedRows, areRolledUp: Bool, batchesInTransaction: Int = 1,
    prepare: (Connection) throws -> Void = { _ in },
    store: (Connection, EncodedRows.Batch) throws -> Void
  ) throws -> StoredRun {
    let database = try makeDatabase()
    let connection = try database.connect()
    var parameters = Parameters()
    parameters.array(of: .date, count: rows.days.count)
    for day in rows.days { parameters.element(day - postgresEpochDays) }
    try connection.query("SELECT chat_telemetry_ensure_days($1)", parameters, operation: "make the days")
    try prepare(connection)
    let before = try usage(connection)
    let clock = ContinuousClock()
    let began = clock.now
    var transactions = 0
    for first in stride(from: 0, to: rows.batches.count, by: batchesInTransaction) {
      try connection.execute("BEGIN", operation: "begin a transaction")
      for batch in rows.batches[first...].prefix(batchesInTransaction) { try store(connection, batch) }
      try connection.execute("COMMIT", operation: "commit")
      transactions += 1
    }
    let seconds = (clock.now - began).seconds
    let usage = try self.usage(connection) - before
    try database.check(connection, events: rows.count, areRolledUp: areRolledUp)
    let vacuum = try vacuumCPUSeconds(connection)
    try drop(database)
    return StoredRun(
      events: rows.count, seconds: seconds, usage: usage, vacuumCPUSeconds: vacuum,
      transactions: transactions)
  }

  func vacuumCPUSeconds(_ connection: Connection) throws -> Double {
    let before = try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID)
    try connection.execute("VACUUM ANALYZE", operation: "vacuum")
    return try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID) - before
  }
}

extension Database {
  /// A measurement of wrong results is worth nothing.
  func check(_ connection: Connection, events: Int, areRolledUp: Bool) throws {
    let row = try connection.query(
      """
      SELECT (SELECT count(*) FROM chat_telemetry), coalesce(sum(total_requests), 0)::bigint
      FROM chat_telemetry_model_rollups WHERE granularity = 'hour'
      """, operation: "count the events"
    ).rows[0]
    let (stored, summed) = (Int(row.int(0)), Int(row.int(1)))
    guard stored == events && (summed == events || !areRolledUp) else {
      throw BenchFailure("\(stored) rows were stored and \(summed) rolled up instead of \(events)")
    }
  }
}

extension ServerUsage {
  static func - (after: ServerUsage, before: ServerUsage) -> ServerUsage {
    ServerUsage(cpuSeconds: after.cpuSeconds - before.cpuSeconds, walBytes: after.walBytes - before.walBytes)
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
