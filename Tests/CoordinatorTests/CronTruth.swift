import Foundation

/// Cron by brute force: every minute of a span is looked at, with the C library's calendar and a parser of
/// its own, so that the schedule is not judged by its own arithmetic. For well-formed expressions only.
struct CronTruth {
  private let minutes, hours, days, months, weekdays: [Bool]
  private let eitherDay: Bool
  private let isFixedTime: Bool

  init(_ expression: String) {
    let words = expression.lowercased().split(separator: " ").map(String.init)
    minutes = Self.members(words[0], 0...59)
    hours = Self.members(words[1], 0...23)
    days = Self.members(words[2], 1...31)
    months = Self.members(words[3], 1...12)
    var week = Self.members(words[4], 0...7)
    week[0] = week[0] || week[7]
    weekdays = week
    eitherDay = words[2].first != "*" && words[4].first != "*"
    isFixedTime = words[0].first != "*" && words[1].first != "*"
  }

  private static func members(_ field: String, _ range: ClosedRange<Int>) -> [Bool] {
    let names =
      range.upperBound == 12
      ? ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
      : ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    func number(_ text: Substring) -> Int { Int(text) ?? names.firstIndex(of: String(text))! }
    var members = [Bool](repeating: false, count: range.upperBound + 1)
    for part in field.split(separator: ",") {
      let pieces = part.split(separator: "/")
      let ends = pieces[0] == "*" ? [] : pieces[0].split(separator: "-").map(number)
      let first = ends.first ?? range.lowerBound
      let last = ends.last ?? range.upperBound
      let step = pieces.count > 1 ? Int(pieces[1])! : 1
      for value in range where value >= first && value <= last && (value - first) % step == 0 {
        members[value] = true
      }
    }
    return members
  }

  /// `second` counts from the epoch on the local clock.
  private func matches(local second: Int64) -> Bool {
    var time = time_t(second)
    var clock = tm()
    gmtime_r(&time, &clock)
    guard minutes[Int(clock.tm_min)], hours[Int(clock.tm_hour)], months[Int(clock.tm_mon) + 1] else {
      return false
    }
    let (byMonth, byWeek) = (days[Int(clock.tm_mday)], weekdays[Int(clock.tm_wday)])
    return eitherDay ? byMonth || byWeek : byMonth && byWeek
  }

  /// Every tick in `[start, end)`, seconds since the epoch, both whole minutes. `offset` is the zone's at an
  /// instant.
  func ticks(from start: Int64, to end: Int64, offset: (Int64) -> Int64) -> [Int64] {
    var ticks: [Int64] = []
    // A day earlier, to know which local times come for the second time.
    var newest = Int64.min
    for instant in stride(from: start - 86_400, to: end, by: 60) {
      let local = instant + offset(instant)
      let isRepeated = local <= newest
      let skipped = stride(from: newest == .min ? local : newest + 60, to: local, by: 60)
      var isDue = matches(local: local) && !(isFixedTime && isRepeated)
      if isFixedTime, skipped.contains(where: matches(local:)) { isDue = true }
      if isDue, instant >= start { ticks.append(instant) }
      newest = max(newest, local)
    }
    return ticks
  }
}
