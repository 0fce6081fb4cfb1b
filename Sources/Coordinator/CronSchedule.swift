/// When a five-field cron expression is due, as Vixie cron reads it: minute, hour, day of month, month, day
/// of week.
///
/// A day is due when day of month and day of week both match; where both are restricted, either is enough. A
/// field that begins with `*` counts as unrestricted, `*/2` too.
///
/// When the clocks of the zone change, Vixie cron's rules hold:
/// - A fixed time (neither minute nor hour begins with `*`) that is skipped runs once, right after the gap;
///   one that comes twice runs the first time only.
/// - Any other schedule follows the clock: nothing in the gap, and the repeated hour again.
public struct CronSchedule: Equatable, Sendable {
  /// The expression as given.
  public let expression: String
  /// The zone whose clock is meant.
  public let zone: CronZone
  let fields: CronFields

  /// - Parameters:
  ///   - expression: five fields of numbers, names, ranges, steps and lists, or `@hourly`, `@daily`,
  ///     `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`.
  /// - Throws: ``CronError`` that names the field, its value and what is allowed.
  public init(_ expression: String, zone: CronZone = .utc) throws(CronError) {
    self.expression = expression
    self.zone = zone
    fields = try CronParser.parse(expression)
  }

  /// The first instant after `instant` that is due, both in microseconds since the Unix epoch. Nil when there
  /// is none within 50 years, as for a wildcard schedule whose every time falls into a clock change's gap.
  public func next(after instant: Int64) -> Int64? {
    let start = floorDivide(instant, 1_000_000)
    guard abs(start) < Self.farthestSecond else { return nil }
    return nextSecond(after: start).map { $0 * 1_000_000 }
  }

  /// The longest wait there is, for 29 February on one weekday, is 40 years (across 2100).
  private static let horizonSeconds: Int64 = 50 * 366 * 86_400
  /// About the year 9999 either way: beyond, an instant is a mistake.
  private static let farthestSecond: Int64 = 253_000_000_000

  /// Goes from one change of the zone's offset to the next; between them, local time runs evenly.
  private func nextSecond(after start: Int64) -> Int64? {
    var from = start
    let end = start + Self.horizonSeconds
    var earliest = start + 1
    if fields.isFixedTime { earliest = max(earliest, zone.repeatedUntil(at: start)) }
    while from < end {
      let offset = zone.offset(at: from)
      guard
        let minute = fields.firstMinute(
          notBefore: ceilDivide(earliest + offset, 60), limit: (end + offset) / 60)
      else { return nil }
      let candidate = minute * 60 - offset
      guard let change = zone.firstChange(after: from, notAfter: candidate) else { return candidate }
      let newOffset = zone.offset(at: change)
      let isSkipped = minute * 60 < change + newOffset
      if isSkipped, fields.isFixedTime { return change }
      from = change
      earliest = max(earliest, fields.isFixedTime ? change + max(0, offset - newOffset) : change)
    }
    return nil
  }
}

/// What a cron expression allows, a bit for each value.
struct CronFields: Equatable, Sendable {
  var minutes: UInt64
  var hours: UInt64
  var daysOfMonth: UInt64
  var months: UInt64
  /// Sunday is 0.
  var daysOfWeek: UInt64
  /// Day of month and day of week are both restricted: either is enough.
  var eitherDay: Bool
  /// Neither minute nor hour begins with `*`.
  var isFixedTime: Bool

  /// The first local minute (since 1970-01-01 00:00 on the local clock) that matches, before `limit`.
  func firstMinute(notBefore start: Int64, limit: Int64) -> Int64? {
    var day = floorDivide(start, 1_440)
    var minuteOfDay = start - day * 1_440
    while day * 1_440 < limit {
      let date = CivilDate(daysSinceEpoch: day)
      if !allows(months, date.month) {
        day = date.firstOfNextMonth
        minuteOfDay = 0
        continue
      }
      if matches(date, weekday: floorModulo(day + 4, 7)), let minute = firstMinute(ofDayFrom: minuteOfDay) {
        return day * 1_440 + minute
      }
      day += 1
      minuteOfDay = 0
    }
    return nil
  }

  private func matches(_ date: CivilDate, weekday: Int64) -> Bool {
    let byMonth = allows(daysOfMonth, date.day)
    let byWeek = allows(daysOfWeek, weekday)
    return eitherDay ? byMonth || byWeek : byMonth && byWeek
  }

  private func firstMinute(ofDayFrom start: Int64) -> Int64? {
    let hour = start / 60
    if allows(hours, hour), let minute = firstValue(minutes, notBelow: start % 60) {
      return hour * 60 + minute
    }
    guard let later = firstValue(hours, notBelow: hour + 1), let minute = firstValue(minutes, notBelow: 0)
    else {
      return nil
    }
    return later * 60 + minute
  }

  private func allows(_ set: UInt64, _ value: Int64) -> Bool {
    set & (1 << UInt64(value)) != 0
  }

  private func firstValue(_ set: UInt64, notBelow value: Int64) -> Int64? {
    let rest = set & ~((1 << UInt64(value)) - 1)
    return rest == 0 ? nil : Int64(rest.trailingZeroBitCount)
  }
}
