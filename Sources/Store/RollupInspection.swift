import Postgres
import Telemetry

/// A day that has, or had, raw rows or has rollups.
struct RollupDay {
  static let micros: Int64 = 86_400_000_000

  /// Days since 1970-01-01.
  var number: Int32
  var isDropped: Bool
  /// Size of its raw rows, without their indexes.
  var bytes: Int64
  /// Whether trailing windows can reach it.
  var hasWindows: Bool

  /// Microseconds since the Unix epoch.
  var low: Int64 { Int64(number) * Self.micros }
  var high: Int64 { low + Self.micros }
  var name: String { UTCBucket.date(number) }
}

/// A stretch of whole hours, in microseconds since the Unix epoch; `high` is not included.
struct HourRange {
  static let hour: Int64 = 3_600_000_000

  var low: Int64
  var high: Int64

  /// `from` is rounded down to the hour and `to` up; nil for no bound.
  init(from: Int64?, to: Int64?) {
    low = from.map { Self.floor($0) } ?? .min
    high = to.map { Self.floor($0 - 1) + Self.hour } ?? .max
  }

  init(low: Int64, high: Int64) { (self.low, self.high) = (low, high) }

  /// What of it lies in the day; nil for nothing.
  func part(of day: RollupDay) -> HourRange? {
    let part = HourRange(low: max(low, day.low), high: min(high, day.high))
    return part.low < part.high ? part : nil
  }

  var hours: [HourRange] {
    stride(from: low, to: high, by: Int(Self.hour)).map { HourRange(low: $0, high: $0 + Self.hour) }
  }

  private static func floor(_ micros: Int64) -> Int64 {
    let rest = micros % hour
    return micros - (rest < 0 ? rest + hour : rest)
  }
}

/// What a comparison found: how many differences, and the first of them.
struct Differences {
  var count: Int64
  var first: [VerificationReport.Difference]
}

/// What verifying and rebuilding have in common: the days, the snapshots and the comparisons in them.
///
/// Not Sendable: as its connection.
struct RollupInspection {
  let connection: Connection
  let schema: Schema

  /// Every day that has, or had, raw rows or has rollups or windows. Rollups are asked for the next bucket again and again, which
  /// costs a look into an index for each day instead of a scan.
  func days() throws -> [RollupDay] {
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
    let found =
      tables.map { "SELECT (first AT TIME ZONE 'UTC')::date FROM \($0) WHERE first < 'infinity'" }
      + [schema.windowDaysTable, schema.windowHoursTable].map { table in
        "SELECT (start AT TIME ZONE 'UTC')::date FROM \(table) WHERE isfinite(start)"
      }
    return try inSnapshot {
      try connection.query(
        """
        WITH RECURSIVE \(walks.joined(separator: ", ")), days (day) AS (
          SELECT day FROM \(schema.daysTable) UNION \(found.joined(separator: " UNION "))
        )
        SELECT day - date '1970-01-01', d.dropped_at IS NOT NULL, coalesce(pg_relation_size(
          to_regclass('\(schema.quoted).chat_telemetry_' || to_char(day, 'YYYY_MM_DD'))), 0),
          (day + 1)::timestamptz > \(VerificationWindows.floor)
        FROM days LEFT JOIN \(schema.daysTable) AS d USING (day) ORDER BY day
        """, operation: "list the days"
      ).rows.map {
        RollupDay(number: Int32($0.int(0)), isDropped: $0.bool(1), bytes: $0.int(2), hasWindows: $0.bool(3))
      }
    }
  }

  /// The differences that a comparison finds.
  func differences(
    _ comparison: String, _ range: HourRange, limit: Int, operation: String
  ) throws(PostgresError) -> Differences {
    try listed(
      VerificationSQL.listed(comparison, limit: limit), parameters(range), operation: operation)
  }

  /// From a query that returns the columns of `VerificationSQL.listed`.
  func listed(
    _ sql: String, _ parameters: Parameters = Parameters(), operation: String
  ) throws(PostgresError) -> Differences {
    let rows = try connection.query(sql, parameters, operation: operation).rows
    return Differences(
      count: rows.first?.int(7) ?? 0, first: rows.map(VerificationReport.Difference.init))
  }

  // MARK: What is there

  /// How far retention went with the rollups of a day whose raw rows it dropped.
  struct Marks: Equatable {
    enum Part { case whole, partly, gone }
    var hours: Part
    var days: Part
  }

  /// The marks of a day whose raw rows were dropped; nil for another day.
  func marks(of day: RollupDay) throws(PostgresError) -> Marks? {
    let row = try connection.query(
      """
      SELECT hours_dropped_at IS NOT NULL, dropped_hour_rows > 0, settled_at IS NOT NULL, dropped_day_rows > 0
      FROM \(schema.daysTable) WHERE day = date '1970-01-01' + \(day.number) AND dropped_at IS NOT NULL
      """, operation: "read the marks of a dropped day"
    ).rows.first
    return row.map { row in
      let part = { (gone: Int) in row.bool(gone) ? Marks.Part.gone : row.bool(gone + 1) ? .partly : .whole }
      return Marks(hours: part(0), days: part(2))
    }
  }

  /// Whether raw rows of every event are there; see `VerificationTotals`.
  func hasAllRawRows() throws(PostgresError) -> Bool {
    try connection.query(
      VerificationTotals(schema: schema).hasAllRawRows, operation: "look whether all raw rows are there"
    ).rows[0].bool(0)
  }

  /// Whether any event has a blank model or one that is called `unknown`.
  func hasUnclearModels() throws(PostgresError) -> Bool {
    try connection.query(
      """
      SELECT EXISTS (SELECT FROM \(schema.totalsTable) WHERE \(VerificationSQL.unclearModel))
        OR EXISTS (SELECT FROM \(schema.dayModelRollupsTable) WHERE model = 'unknown')
      """, parameters(HourRange(low: 0, high: 0)), operation: "look for unknown models"
    ).rows[0].bool(0)
  }

  func parameters(_ range: HourRange) -> Parameters {
    var parameters = Parameters()
    parameters.append(range.low - postgresEpochMicros, as: .timestamptz)
    parameters.append(range.high - postgresEpochMicros, as: .timestamptz)
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
  func inSnapshot<Value>(_ body: () throws -> Value) throws -> Value {
    try run(
      """
      BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
      \(Self.manners);
      LOCK TABLE ONLY \(schema.rawTable) IN ACCESS SHARE MODE
      """, operation: "begin a snapshot", body)
  }

  /// Runs in a transaction that holds the advisory lock of a table's writers: each statement sees what was committed
  /// before the lock was given. The raw table is locked first, in the order of the ingest transaction.
  func inTransaction(lock table: String, _ body: () throws -> Void) throws {
    try run(
      """
      BEGIN ISOLATION LEVEL READ COMMITTED;
      \(Self.manners);
      SET LOCAL work_mem = '64MB';
      LOCK TABLE ONLY \(schema.rawTable) IN ACCESS SHARE MODE;
      SELECT pg_advisory_xact_lock('\(schema.table(table))'::regclass::oid::bigint)
      """, operation: "lock \(table)", body)
  }

  private static var manners: String {
    """
    SET LOCAL lock_timeout = \(BatchStore.lockTimeoutMs);
    SET LOCAL idle_in_transaction_session_timeout = \(BatchStore.idleTimeoutMs);
    SET LOCAL timezone = 'UTC';
    SET LOCAL jit = off
    """
  }

  private func run<Value>(_ begin: String, operation: String, _ body: () throws -> Value) throws -> Value {
    do {
      try connection.execute(begin, operation: operation)
      let value = try body()
      try connection.execute("COMMIT", operation: "commit: \(operation)")
      return value
    } catch {
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }
}
