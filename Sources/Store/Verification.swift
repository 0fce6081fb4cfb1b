import Postgres

/// Compares rollups, totals, sketches, windows and positions with what they are made of. It changes nothing, and no
/// writer waits for it: every snapshot is read only, and the lock it holds is that of any query.
///
/// Each day has a snapshot of its own, and each hour of a large day: one old snapshot over a long run would keep the
/// versions of hot rows alive, which slows the upserts of live workers. The server compares; only differences travel.
/// Not Sendable: as its connection.
public struct Verification {
  /// Differences that the report lists; all are counted.
  let limit: Int
  /// A day whose raw rows take more bytes than this is compared hour by hour.
  let largeDayBytes: Int64
  private let inspection: RollupInspection

  /// About 250,000 rows: some four seconds on two busy cores, and by the hour a large day takes no longer in all.
  public static let defaultLargeDayBytes: Int64 = 64 << 20

  public init(
    connection: Connection, schema: Schema, limit: Int = 100,
    largeDayBytes: Int64 = Verification.defaultLargeDayBytes
  ) {
    precondition(limit >= 0, "no negative number of differences can be listed")
    inspection = RollupInspection(connection: connection, schema: schema)
    self.limit = limit
    self.largeDayBytes = largeDayBytes
  }

  private var days: VerificationDays { VerificationDays(schema: inspection.schema) }
  private var windows: VerificationWindows { VerificationWindows(schema: inspection.schema) }
  private var totals: VerificationTotals { VerificationTotals(schema: inspection.schema) }

  /// Compares the hours and whole days of a range, and everything that has no place in time.
  ///
  /// - Parameters:
  ///   - from: Microseconds since the Unix epoch, rounded down to the hour; nil for no bound.
  ///   - to: The same, rounded up, not included.
  /// - Throws: `PostgresError`.
  public func run(from: Int64? = nil, to: Int64? = nil) throws -> VerificationReport {
    var report = VerificationReport()
    let range = HourRange(from: from, to: to)
    for day in try inspection.days() {
      guard let part = range.part(of: day) else { continue }
      let hasRawRows = day.isDropped ? false : try compare(day, part, &report)
      if hasRawRows {
        report.days += 1
      } else {
        report.droppedDays.append(day.name)
        try compareRollups(of: day, part, &report)
      }
    }
    try compareTotals(isWhole: from == nil && to == nil, &report)
    return report
  }

  // MARK: Days

  /// Returns false when the day was dropped meanwhile.
  private func compare(
    _ day: RollupDay, _ part: HourRange, _ report: inout VerificationReport
  ) throws -> Bool {
    let isWhole = part.low == day.low && part.high == day.high
    let ofWindows = day.hasWindows ? [windows.againstRawRows] : []
    if day.bytes <= largeDayBytes {
      return try compare(
        [days.againstRawRows(wholeDay: isWhole)] + ofWindows + (isWhole ? [days.sketchesAgainstRawRows] : []),
        day, part, &report)
    }
    for hour in part.hours {
      let parts = [days.againstRawRows(wholeDay: false)] + ofWindows
      guard try compare(parts, day, hour, &report) else { return false }
    }
    guard isWhole else { return true }
    return try compare([days.daysAgainstHours, days.sketchesAgainstCounts], day, part, &report)
  }

  private func compare(
    _ comparisons: [String], _ day: RollupDay, _ part: HourRange, _ report: inout VerificationReport
  ) throws -> Bool {
    try inspection.inSnapshot {
      guard try inspection.marks(of: day) == nil else { return false }
      for comparison in comparisons {
        try add(
          comparison, part, &report, operation: "compare the rollups of \(day.name) with the raw rows")
      }
      report.snapshots += 1
      return true
    }
  }

  /// Without raw rows the rollups that are left are compared with each other. Where retention is in the middle of a
  /// day's rows, those are left out.
  private func compareRollups(
    of day: RollupDay, _ part: HourRange, _ report: inout VerificationReport
  ) throws {
    try inspection.inSnapshot {
      let isWhole = part.low == day.low && part.high == day.high
      let comparisons = days.withoutRawRows(try inspection.marks(of: day), wholeDay: isWhole)
      for comparison in comparisons {
        try add(comparison, part, &report, operation: "compare the rollups of \(day.name)")
      }
      report.snapshots += 1
    }
  }

  // MARK: Totals and positions

  private func compareTotals(isWhole: Bool, _ report: inout VerificationReport) throws {
    let all = HourRange(low: 0, high: 0)
    try inspection.inSnapshot {
      let isUnclear = try inspection.hasUnclearModels()
      let isExact = try isUnclear && isWhole && inspection.hasAllRawRows()
      try add(
        totals.againstDayRows(known: isExact), all, &report,
        operation: "compare the totals with the day rollups")
      try add(totals.withinTotals, all, &report, operation: "compare the sketches with the totals")
      try add(windows.againstParts, all, &report, operation: "compare the windows with their parts")
      if isExact {
        try add(
          totals.unclearAgainstRawRows, all, &report,
          operation: "compare the totals of unknown models with the raw rows")
      } else if isUnclear {
        report.notCompared.append(
          "how much of `unknown` in the day rollups is blank models: only a run over all days tells, and none does "
            + "once raw rows were dropped")
      }
      let positions = try inspection.listed(
        totals.offsets(limit: room(report)), operation: "check the positions")
      add(positions, &report)
      report.snapshots += 1
    }
  }

  // MARK: Running

  private func room(_ report: VerificationReport) -> Int { max(1, limit - report.differences.count) }

  private func add(
    _ comparison: String, _ range: HourRange, _ report: inout VerificationReport, operation: String
  ) throws {
    add(
      try inspection.differences(comparison, range, limit: room(report), operation: operation), &report)
  }

  private func add(_ found: Differences, _ report: inout VerificationReport) {
    report.differenceCount += found.count
    report.differences += found.first.prefix(limit - report.differences.count)
  }
}
