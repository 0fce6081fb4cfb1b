import Postgres
import Telemetry

/// Compares rollups, totals, sketches and positions with what they are made of. It changes nothing, and no writer waits
/// for it: every snapshot is read only, and the lock it holds is that of any query.
///
/// Each day has a snapshot of its own, and each hour of a large day: one old snapshot over a long run would keep the
/// versions of hot rows alive, which slows the upserts of live workers. The server compares; only differences travel.
/// Not Sendable: as its connection.
public struct Verification {
  let connection: Connection
  let schema: Schema
  /// Differences that the report lists; all are counted.
  let limit: Int
  /// A day whose raw rows take more bytes than this is compared hour by hour.
  let largeDayBytes: Int64

  /// About 250,000 rows: some four seconds on two busy cores, and by the hour a large day takes no longer in all.
  public static let defaultLargeDayBytes: Int64 = 64 << 20

  public init(
    connection: Connection, schema: Schema, limit: Int = 100,
    largeDayBytes: Int64 = Verification.defaultLargeDayBytes
  ) {
    precondition(limit >= 0, "no negative number of differences can be listed")
    self.connection = connection
    self.schema = schema
    self.limit = limit
    self.largeDayBytes = largeDayBytes
  }

  /// Compares the hours and whole days of a range, and everything that has no place in time.
  ///
  /// - Parameters:
  ///   - from: Microseconds since the Unix epoch, rounded down to the hour; nil for no bound.
  ///   - to: The same, rounded up, not included.
  public func run(from: Int64? = nil, to: Int64? = nil) throws(PostgresError) -> VerificationReport {
    var report = VerificationReport()
    let from = from.map { Self.floorHour($0) } ?? .min
    let to = to.map { Self.floorHour($0 - 1) + Self.hour } ?? .max
    for day in try days() {
      let low = max(from, day.low)
      let high = min(to, day.low + Self.day)
      guard low < high else { continue }
      let compared = day.isDropped ? false : try compare(day, low, high, &report)
      if compared { report.days += 1 } else { report.droppedDays.append(day.name) }
    }
    try compareTotals(&report)
    return report
  }

  // MARK: Days

  private static let hour: Int64 = 3_600_000_000
  private static let day: Int64 = 24 * hour

  private static func floorHour(_ micros: Int64) -> Int64 {
    let rest = micros % hour
    return micros - (rest < 0 ? rest + hour : rest)
  }

  private struct Day {
    /// Days since 1970-01-01.
    var number: Int32
    var isDropped: Bool
    var bytes: Int64

    var low: Int64 { Int64(number) * Verification.day }
    var name: String { UTCBucket.date(number) }
  }

  /// Every day that has, or had, raw rows or has rollups. Tables are asked for the next bucket again and again, which
  /// costs a look into an index for each day instead of a scan.
  private func days() throws(PostgresError) -> [Day] {
    let tables = ["rollups", "domain_rollups", "model_rollups"].flatMap { ["\($0)_hour", "\($0)_day"] }
    let walks = tables.map { table in
      let rows = schema.table("chat_telemetry_\(table)")
      return """
        \(table) (first) AS (
          SELECT min(bucket_start) FROM \(rows) WHERE bucket_start > '-infinity'
          UNION ALL
          SELECT (SELECT min(bucket_start) FROM \(rows)
            WHERE bucket_start >= date_trunc('day', first, 'UTC') + interval '1 day')
          FROM \(table) WHERE first < 'infinity'
        )
        """
    }
    let found = tables.map { "SELECT (first AT TIME ZONE 'UTC')::date FROM \($0) WHERE first < 'infinity'" }
    return try inSnapshot { () throws(PostgresError) in
      try connection.query(
        """
        WITH RECURSIVE \(walks.joined(separator: ", ")), days (day) AS (
          SELECT day FROM \(schema.daysTable) UNION \(found.joined(separator: " UNION "))
        )
        SELECT day - date '1970-01-01', d.dropped_at IS NOT NULL, coalesce(pg_relation_size(
          to_regclass('\(schema.quoted).chat_telemetry_' || to_char(day, 'YYYY_MM_DD'))), 0)
        FROM days LEFT JOIN \(schema.daysTable) AS d USING (day) ORDER BY day
        """, operation: "list the days to verify"
      ).rows.map { Day(number: Int32($0.int(0)), isDropped: $0.bool(1), bytes: $0.int(2)) }
    }
  }

  /// Returns false when the day was dropped meanwhile.
  private func compare(
    _ day: Day, _ low: Int64, _ high: Int64, _ report: inout VerificationReport
  ) throws(PostgresError) -> Bool {
    let sql = VerificationDays(schema: schema)
    let isWhole = high - low == Self.day
    if day.bytes <= largeDayBytes {
      return try compare(
        [sql.againstRawRows(wholeDay: isWhole)] + (isWhole ? [sql.sketchesAgainstRawRows] : []),
        day, low, high, &report)
    }
    for start in stride(from: low, to: high, by: Int(Self.hour)) {
      let parts = [sql.againstRawRows(wholeDay: false)]
      guard try compare(parts, day, start, start + Self.hour, &report) else { return false }
    }
    guard isWhole else { return true }
    return try compare([sql.daysAgainstHours, sql.sketchesAgainstCounts], day, low, high, &report)
  }

  private func compare(
    _ comparisons: [String], _ day: Day, _ low: Int64, _ high: Int64, _ report: inout VerificationReport
  ) throws(PostgresError) -> Bool {
    try inSnapshot { () throws(PostgresError) in
      let dropped = try connection.query(
        """
        SELECT FROM \(schema.daysTable)
        WHERE day = date '1970-01-01' + \(day.number) AND dropped_at IS NOT NULL
        """, operation: "read the mark of a dropped day")
      guard dropped.rows.isEmpty else { return false }
      for comparison in comparisons {
        try add(
          VerificationSQL.listed(comparison, limit: room(report)), parameters(low, high), &report,
          operation: "compare the rollups of \(day.name) with the raw rows")
      }
      report.snapshots += 1
      return true
    }
  }

  // MARK: Totals and positions

  private func compareTotals(_ report: inout VerificationReport) throws(PostgresError) {
    let sql = VerificationTotals(schema: schema)
    try inSnapshot { () throws(PostgresError) in
      let forgotten = try connection.query(sql.forgottenDays, operation: "look for forgotten days").rows[0]
        .int(0)
      if forgotten == 0 {
        try add(
          VerificationSQL.listed(sql.againstDayRows, limit: room(report)), parameters(0, 0), &report,
          operation: "compare the totals with the day rollups")
      } else {
        report.notCompared.append(
          "totals and sketches with day rollups: those of \(forgotten) days are gone, and their events are in the totals"
        )
      }
      try add(
        VerificationSQL.listed(sql.withinTotals, limit: room(report)), parameters(0, 0), &report,
        operation: "compare the sketches with the totals")
      try add(
        sql.offsets(limit: room(report)), Parameters(), &report, operation: "check the positions")
      report.snapshots += 1
    }
  }

  // MARK: Running

  /// At least one row is asked for: it says how many there are.
  private func room(_ report: VerificationReport) -> Int { max(1, limit - report.differences.count) }

  private func add(
    _ sql: String, _ parameters: Parameters, _ report: inout VerificationReport, operation: String
  ) throws(PostgresError) {
    let rows = try connection.query(sql, parameters, operation: operation).rows
    report.differenceCount += rows.first?.int(7) ?? 0
    report.differences += rows.map(VerificationReport.Difference.init)
      .prefix(limit - report.differences.count)
  }

  private func parameters(_ low: Int64, _ high: Int64) -> Parameters {
    var parameters = Parameters()
    parameters.append(low - postgresEpochMicros, as: .timestamptz)
    parameters.append(high - postgresEpochMicros, as: .timestamptz)
    parameters.append(Self.whiteSpace)
    parameters.array(of: .int4, count: Self.longestOfBins.count)
    for longest in Self.longestOfBins { parameters.element(longest) }
    return parameters
  }

  /// Every scalar of Unicode's White_Space (PropList.txt), as the worker trims them.
  private static let whiteSpace =
    "\u{9}\u{A}\u{B}\u{C}\u{D}\u{20}\u{85}\u{A0}\u{1680}\u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}"
    + "\u{2007}\u{2008}\u{2009}\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}"

  /// The longest duration, in ms, that counts in each bin of the sketch or in one before it.
  private static let longestOfBins: [Int32] = (0...DurationSketch.lastBin).map { bin in
    var (low, high) = (Int64(0), DurationSketch.maxMs)
    while low < high {
      let middle = (low + high + 1) / 2
      if DurationSketch.bin(forMs: middle) <= bin { low = middle } else { high = middle - 1 }
    }
    return Int32(low)
  }

  /// Runs within one snapshot. The raw table is locked first, as any query on it would: a day that retention drops is
  /// then dropped before the snapshot, and marked in it, or after the transaction.
  private func inSnapshot<Value>(_ body: () throws(PostgresError) -> Value) throws(PostgresError) -> Value {
    do {
      try connection.execute(
        """
        BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
        SET LOCAL lock_timeout = \(BatchStore.lockTimeoutMs);
        SET LOCAL idle_in_transaction_session_timeout = \(BatchStore.idleTimeoutMs);
        SET LOCAL timezone = 'UTC';
        SET LOCAL jit = off;
        LOCK TABLE ONLY \(schema.rawTable) IN ACCESS SHARE MODE
        """, operation: "begin a snapshot")
      let value = try body()
      try connection.execute("COMMIT", operation: "end a snapshot")
      return value
    } catch {
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }
}

extension VerificationReport.Difference {
  /// From the columns of `VerificationSQL.listed`.
  fileprivate init(_ row: QueryResult.Row) {
    table = row.text(0)
    key = Self.keys(of: table).map { VerificationReport.KeyPart(column: $0.column, value: row[$0.place]) }
    measure = row.text(4)
    expected = row[5]
    stored = row[6]
  }

  private static func keys(of table: String) -> [(column: String, place: Int)] {
    let all = ["bucket_start", "domain", "model"].enumerated().map {
      (column: $0.element, place: $0.offset + 1)
    }
    switch table {
    case "chat_telemetry_offsets": return [("consumer_group", 1), ("topic", 2), ("partition", 3)]
    case "chat_telemetry_totals": return Array(all[1...])
    case "chat_telemetry_sketches": return Array(all[1...])
    case "chat_telemetry_rollups_hour", "chat_telemetry_rollups_day": return [all[0]]
    case "chat_telemetry_domain_rollups_hour", "chat_telemetry_domain_rollups_day": return Array(all[..<2])
    case "chat_telemetry_model_rollups_hour", "chat_telemetry_model_rollups_day": return all
    default: return []
    }
  }
}
