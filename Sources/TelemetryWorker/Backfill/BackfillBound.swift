import ArgumentParser
import Pipeline

/// Where a backfill begins or ends, as it was typed: a time, an age, an offset, `earliest` or `latest`.
struct BackfillBound: ExpressibleByArgument, Equatable, Sendable {
  enum Kind: Equatable, Sendable {
    case earliest
    case latest
    case offset(Int64)
    case time(TimePoint)
    case age(TimeSpan)
  }

  /// As it was typed: an age stays the same word although it means another time tomorrow.
  let text: String
  let kind: Kind

  init?(argument: String) {
    text = argument
    switch argument {
    case "earliest": kind = .earliest
    case "latest": kind = .latest
    default:
      if let offset = Self.offset(argument) {
        kind = .offset(offset)
      } else if let time = TimePoint(argument: argument) {
        kind = .time(time)
      } else if let age = TimeSpan(argument: argument) {
        kind = .age(age)
      } else {
        return nil
      }
    }
  }

  private static func offset(_ text: String) -> Int64? {
    guard text.allSatisfy({ ("0"..."9").contains($0) }) else { return nil }
    return Int64(text)
  }

  /// What it means now.
  func resolved(nowMicros: Int64) -> ReplayBound {
    switch kind {
    case .earliest: .earliest
    case .latest: .latest
    case .offset(let offset): .offset(offset)
    case .time(let time): .time(micros: time.micros)
    case .age(let age): .time(micros: nowMicros - age.micros)
    }
  }

  var isTime: Bool {
    switch kind {
    case .time, .age: true
    case .earliest, .latest, .offset: false
    }
  }

  /// Whether nothing can lie between the two.
  static func isEmpty(from: BackfillBound, to: BackfillBound, nowMicros: Int64) -> Bool {
    switch (from.resolved(nowMicros: nowMicros), to.resolved(nowMicros: nowMicros)) {
    case (.offset(let from), .offset(let to)): from >= to
    case (.time(let from), .time(let to)): from >= to
    default: false
    }
  }
}
