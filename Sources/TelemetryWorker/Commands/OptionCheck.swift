import ArgumentParser
import Monitoring

/// Checks of options that are no settings. A failure is a usage error.
enum OptionCheck {
  static func range<Value: Comparable>(_ value: Value, _ range: ClosedRange<Value>, _ option: String) throws {
    guard range.contains(value) else {
      throw ValidationError("\(option) \(value) is out of range: \(range.lowerBound) to \(range.upperBound).")
    }
  }

  static func share(_ value: Double, _ option: String) throws { try range(value, 0...1, option) }
}

/// A length of time as people write it: `90s`, `15m`, `24h`, `7d`.
struct TimeSpan: ExpressibleByArgument, Equatable, Sendable {
  var micros: Int64

  private static let longestDays: Int64 = 7_300

  init(hours: Int64) { micros = hours * 3_600 * Timestamp.microsPerSecond }

  init?(argument: String) {
    let seconds: [Character: Int64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
    guard let unit = argument.last.flatMap({ seconds[$0] }), let number = Int64(argument.dropLast()),
      (1...100_000_000).contains(number), number * unit <= Self.longestDays * 86_400
    else { return nil }
    micros = number * unit * Timestamp.microsPerSecond
  }

  var defaultValueDescription: String { "\(micros / 3_600 / Timestamp.microsPerSecond)h" }
}

/// A point in time as RFC 3339 has it, from 1971 to 9000: events take a while, and years have four digits.
struct TimePoint: ExpressibleByArgument, Equatable, Sendable {
  /// Microseconds since 1970-01-01T00:00:00Z.
  var micros: Int64

  init?(argument: String) {
    let years = CivilDate.days(year: 1971, month: 1, day: 1)..<CivilDate.days(year: 9001, month: 1, day: 1)
    guard let micros = Timestamp.parse(argument), years.contains(micros / Timestamp.microsPerDay) else {
      return nil
    }
    self.micros = micros
  }
}

/// One end of a range of time: a point in time, or how long ago it was.
enum TimeBound: ExpressibleByArgument {
  case time(TimePoint)
  case age(TimeSpan)

  init?(argument: String) {
    if let time = TimePoint(argument: argument) {
      self = .time(time)
    } else if let age = TimeSpan(argument: argument) {
      self = .age(age)
    } else {
      return nil
    }
  }

  private func micros(nowMicros: Int64) -> Int64 {
    switch self {
    case .time(let time): time.micros
    case .age(let age): nowMicros - age.micros
    }
  }

  /// `--from` and `--to` in microseconds since the Unix epoch. In the wrong order they are a usage error.
  static func range(_ from: TimeBound?, _ to: TimeBound?) throws -> (from: Int64?, to: Int64?) {
    let now = WallClock.now()
    let range = (from: from?.micros(nowMicros: now), to: to?.micros(nowMicros: now))
    if let from = range.from, let to = range.to, from >= to {
      throw ValidationError("--from must be before --to.")
    }
    return range
  }
}
