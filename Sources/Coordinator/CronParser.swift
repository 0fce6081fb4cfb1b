/// Why a cron expression is refused.
public enum CronError: Error, Equatable, CustomStringConvertible {
  /// Not five fields, and no `@` name that is known.
  case notFiveFields(String, count: Int)
  case unknownNickname(String)
  /// A part of a field is not understood.
  case malformed(field: String, value: String, allowed: String)
  /// The day never comes, as 30 February.
  case neverDue(String)
  case unknownZone(String)

  public var description: String {
    switch self {
    case .notFiveFields(let expression, let count):
      "cron expression \"\(expression)\" has \(count) fields; it needs five: "
        + "minute, hour, day of month, month, day of week"
    case .unknownNickname(let name):
      "cron expression \"\(name)\" is not known; allowed are "
        + CronParser.nicknames.keys.sorted().joined(separator: ", ")
    case .malformed(let field, let value, let allowed):
      "\(field) \"\(value)\" in the cron expression: \(allowed)"
    case .neverDue(let expression):
      "cron expression \"\(expression)\" is never due: no month it names has such a day"
    case .unknownZone(let name):
      "time zone \"\(name)\" is not known; give UTC or an IANA name such as Europe/Berlin"
    }
  }
}

/// Reads cron expressions.
enum CronParser {
  static let nicknames = [
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
  ]

  static func parse(_ expression: String) throws(CronError) -> CronFields {
    var words = expression.split { $0 == " " || $0 == "\t" }.map { $0.lowercased() }
    if words.count == 1, words[0].hasPrefix("@") {
      guard let meaning = nicknames[words[0]] else { throw .unknownNickname(words[0]) }
      words = meaning.split(separator: " ").map(String.init)
    }
    guard words.count == 5 else { throw .notFiveFields(expression, count: words.count) }
    let (minute, hour, dayOfMonth, month, dayOfWeek) = (words[0], words[1], words[2], words[3], words[4])
    let weekdays = try CronField.dayOfWeek.parse(dayOfWeek)
    let fields = CronFields(
      minutes: try CronField.minute.parse(minute), hours: try CronField.hour.parse(hour),
      daysOfMonth: try CronField.dayOfMonth.parse(dayOfMonth), months: try CronField.month.parse(month),
      // 7 is Sunday too.
      daysOfWeek: (weekdays | weekdays >> 7) & 0x7F,
      eitherDay: !dayOfMonth.hasPrefix("*") && !dayOfWeek.hasPrefix("*"),
      isFixedTime: !minute.hasPrefix("*") && !hour.hasPrefix("*"))
    guard fields.eitherDay || hasPossibleDay(fields) else { throw .neverDue(expression) }
    return fields
  }

  /// Some month that is named has a day of month that is named. Each such day meets every weekday sooner or
  /// later.
  private static func hasPossibleDay(_ fields: CronFields) -> Bool {
    let lengths: [UInt64] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return lengths.enumerated().contains { index, length in
      fields.months & (2 << UInt64(index)) != 0 && fields.daysOfMonth & ((2 << length) - 2) != 0
    }
  }
}

/// One of the five fields: its name, range and words.
struct CronField: Sendable {
  let name: String
  let range: ClosedRange<Int>
  /// Stands for `firstNamed` and the values after it.
  let names: [String]
  let firstNamed: Int

  static let minute = CronField(name: "minute", range: 0...59, names: [], firstNamed: 0)
  static let hour = CronField(name: "hour", range: 0...23, names: [], firstNamed: 0)
  static let dayOfMonth = CronField(name: "day of month", range: 1...31, names: [], firstNamed: 1)
  static let month = CronField(
    name: "month", range: 1...12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], firstNamed: 1
  )
  static let dayOfWeek = CronField(
    name: "day of week", range: 0...7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"], firstNamed: 0
  )

  /// A list of values, ranges and steps, in lower case, as a bit for each value.
  func parse(_ text: String) throws(CronError) -> UInt64 {
    var set: UInt64 = 0
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      set |= try parse(part: part)
    }
    return set
  }

  private func parse(part: Substring) throws(CronError) -> UInt64 {
    let pieces = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    let span = try parse(span: pieces[0])
    var step = 1
    if pieces.count == 2 {
      guard pieces[0] == "*" || pieces[0].contains("-") else {
        throw malformed(
          part, "a step needs a range before it, such as \(pieces[0])-\(range.upperBound)/\(pieces[1])")
      }
      guard let number = Self.number(pieces[1]), (1...range.count).contains(number) else {
        throw malformed(part, "the step must be a whole number from 1 to \(range.count)")
      }
      step = number
    }
    return stride(from: span.lowerBound, through: span.upperBound, by: step).reduce(0) {
      $0 | 1 << UInt64($1)
    }
  }

  private func parse(span: Substring) throws(CronError) -> ClosedRange<Int> {
    if span == "*" { return range }
    let ends = span.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    let first = try value(ends[0])
    guard ends.count == 2 else { return first...first }
    var last = try value(ends[1])
    // Sunday ends a week as well as it begins one.
    if name == Self.dayOfWeek.name, ends[1] == "sun", first > 0 { last = 7 }
    guard first <= last else {
      throw malformed(
        span,
        "a range must ascend; write \(ends[0])-\(range.upperBound),\(range.lowerBound)-\(ends[1]) to go round"
      )
    }
    return first...last
  }

  private func value(_ text: Substring) throws(CronError) -> Int {
    if let index = names.firstIndex(of: String(text)) { return firstNamed + index }
    guard let number = Self.number(text), range.contains(number) else {
      var allowed = "allowed are \(range.lowerBound) to \(range.upperBound)"
      if let first = names.first, let last = names.last { allowed += ", \(first) to \(last)" }
      throw malformed(text, allowed + ", * and lists, ranges and steps of them")
    }
    return number
  }

  private func malformed(_ value: Substring, _ allowed: String) -> CronError {
    .malformed(field: name, value: String(value), allowed: allowed)
  }

  /// Digits only: no sign, no space.
  private static func number(_ text: Substring) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
      return nil
    }
    return Int(text)
  }
}
