import Postgres

/// Makes rollups, totals, sketches and windows anew where they differ from what they are made of, beside live workers.
///
/// Everything is compared first, in snapshots that lock nothing. What differs is then computed again and replaced in one
/// transaction, under the lock of those who write it, an hour or a day at a time: readers see the old rows or the new
/// ones, and `RebuildSQL` says why no live event is lost or counted twice. So a batch waits at most for one hour's raw
/// rows to be read, and only if that hour differs; a fold or a refresh waits at most for a day's. Computing outside the
/// lock and adding the differences would be shorter still, but an extreme that was too high cannot be taken back so.
///
/// Not Sendable: as its connection.
public struct Rebuild {
  public enum Days: Equatable, Sendable {
    /// All that have raw rows; others are left as they are.
    case all
    /// Microseconds since the Unix epoch: `from` is rounded down to the hour, `to`, not included, up; nil for no bound.
    /// The days that it touches are rebuilt whole, their hours as far as they lie in it.
    case range(from: Int64?, to: Int64?)
  }

  /// Differences that the report lists; all are counted.
  let limit: Int
  let isDryRun: Bool
  private let inspection: RollupInspection

  public init(connection: Connection, schema: Schema, limit: Int = 100, dryRun: Bool = false) {
    precondition(limit >= 0, "no negative number of differences can be listed")
    inspection = RollupInspection(connection: connection, schema: schema)
    self.limit = limit
    isDryRun = dryRun
  }

  private var connection: Connection { inspection.connection }
  private var schema: Schema { inspection.schema }
  private var sql: RebuildSQL { RebuildSQL(schema: schema) }
  private var days: VerificationDays { VerificationDays(schema: schema) }
  private var windows: VerificationWindows { VerificationWindows(schema: schema) }
  private var totals: VerificationTotals { VerificationTotals(schema: schema) }

  /// Rebuilds the rollups and windows of the days, then totals and sketches. What was rebuilt before a failure stays.
  ///
  /// - Throws: `RebuildRefused` when raw rows of the range were dropped; `PostgresError`.
  public func run(_ wanted: Days) throws -> RebuildReport {
    var report = RebuildReport(dryRun: isDryRun)
    let all = try inspection.days()
    var range = HourRange(from: nil, to: nil)
    if case .range(let from, let to) = wanted {
      range = HourRange(from: from, to: to)
      let dropped = all.filter { $0.isDropped && range.part(of: $0) != nil }
      guard dropped.isEmpty else { throw RebuildRefused(droppedDays: dropped.map(\.name)) }
    }
    var others: [RollupDay] = []
    var daysDiffer = false
    for day in all {
      guard let part = range.part(of: day), !day.isDropped else {
        others.append(day)
        continue
      }
      do {
        if try rebuild(day, part, &report) { daysDiffer = true }
        report.days += 1
      } catch let refused as RebuildRefused {
        guard wanted == .all else { throw refused }
        others.append(day)
      }
    }
    report.droppedDays = others.filter { range.part(of: $0) != nil }.map(\.name)
    try rebuildTotals(others, isDoubtful: isDryRun && daysDiffer, &report)
    return report
  }

  // MARK: Days

  /// Returns whether the day rollups differed, from which the totals follow.
  private func rebuild(_ day: RollupDay, _ part: HourRange, _ report: inout RebuildReport) throws -> Bool {
    for hour in try hoursToCompare(day, part) {
      try step(
        "the hour rollups of \(day.name)", day, hour, lock: "chat_telemetry_rollups",
        compare: [days.againstRawRows(wholeDay: false)], write: [sql.hours], &report)
    }
    let whole = HourRange(low: day.low, high: day.high)
    let differences = try step(
      "the day rollups of \(day.name)", day, whole, lock: "chat_telemetry_fold_state",
      compare: [days.daysAgainstRawRows, days.sketchesAgainstRawRows], write: [sql.dayRows, sql.daySketches],
      &report)
    guard day.hasWindows else { return differences > 0 }
    try step(
      "the windows of \(day.name)", day, whole, lock: "chat_telemetry_fold_state",
      compare: [windows.againstRawRows], write: [sql.windowHours, sql.windowSums], &report)
    return differences > 0
  }

  /// Of a day that is not large those that differ: one look at it costs less than one at each hour.
  private func hoursToCompare(_ day: RollupDay, _ part: HourRange) throws -> [HourRange] {
    guard day.bytes <= Verification.defaultLargeDayBytes else { return part.hours }
    return try inspection.inSnapshot {
      try connection.query(
        """
        SELECT DISTINCT floor(extract(epoch FROM bucket_start) / 3600)::bigint
        FROM (\(days.againstRawRows(wholeDay: false))) AS difference ORDER BY 1
        """, inspection.parameters(part), operation: "compare the hour rollups of \(day.name)"
      ).rows.map { HourRange(low: $0.int(0) * HourRange.hour, high: ($0.int(0) + 1) * HourRange.hour) }
    }
  }

  /// Compares, and writes where something differs; returns how many differences there were. The marks of a dropped day are read again each time.
  @discardableResult
  private func step(
    _ what: String, _ day: RollupDay?, _ range: HourRange, lock: String, compare: [String], write: [String],
    _ report: inout RebuildReport
  ) throws -> Int64 {
    let refused = RebuildRefused(droppedDays: day.map { [$0.name] } ?? [])
    var count: Int64 = 0
    try inspection.inSnapshot {
      if let day, try inspection.marks(of: day) != nil { throw refused }
      for comparison in compare {
        let room = max(1, limit - report.differences.count)
        let found = try inspection.differences(comparison, range, limit: room, operation: "compare \(what)")
        count += found.count
        report.differences += found.first.prefix(limit - report.differences.count)
      }
    }
    report.differenceCount += count
    guard count > 0, !isDryRun else { return count }
    try inspection.inTransaction(lock: lock) {
      if let day, try inspection.marks(of: day) != nil { throw refused }
      for statement in write {
        try connection.query(statement, inspection.parameters(range), operation: "rebuild \(what)")
      }
    }
    report.rebuiltParts += 1
    return count
  }

  // MARK: Totals

  /// Totals and sketches follow from the day rollups of all days, so all of these must be right: those that were not
  /// rebuilt are compared with their hours.
  private func rebuildTotals(
    _ others: [RollupDay], isDoubtful: Bool, _ report: inout RebuildReport
  ) throws {
    let all = HourRange(low: 0, high: 0)
    try step(
      "the windows", nil, all, lock: "chat_telemetry_fold_state", compare: [windows.againstParts],
      write: [sql.windowSums], &report)
    let doubtful = try others.filter { try contradictsItself($0) }
    guard doubtful.isEmpty else {
      report.notRebuilt.append(
        "totals and sketches, for the rollups of \(doubtful.map(\.name).joined(separator: ", ")) contradict each other"
          + (doubtful.contains { !$0.isDropped } ? ": rebuild those days too" : ""))
      return
    }
    guard !isDoubtful else {
      report.notRebuilt.append(
        "totals and sketches were not compared: they follow from the day rollups, which differ")
      return
    }
    let hasAllRawRows = try inspection.hasAllRawRows()
    let isExact = try hasAllRawRows && inspection.hasUnclearModels()
    let comparisons =
      [totals.againstDayRows(known: isExact), totals.withinTotals]
      + (isExact ? [totals.unclearAgainstRawRows] : [])
    let make = RebuildTotalsSQL(schema: schema, hasAllRawRows: hasAllRawRows)
    try step(
      "totals and sketches", nil, all, lock: "chat_telemetry_fold_state",
      compare: comparisons,
      write: [make.totals, make.sketches, make.foldState], &report)
  }

  private func contradictsItself(_ day: RollupDay) throws -> Bool {
    let whole = HourRange(low: day.low, high: day.high)
    return try inspection.inSnapshot {
      let marks = try inspection.marks(of: day)
      for comparison in days.withoutRawRows(marks, wholeDay: true) {
        let found = try inspection.differences(
          comparison, whole, limit: 1, operation: "compare the rollups of \(day.name)")
        if found.count > 0 { return true }
      }
      return false
    }
  }
}
