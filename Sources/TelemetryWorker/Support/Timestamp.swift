/// RFC 3339 times for settings and options, in microseconds since 1970-01-01T00:00:00Z.
enum Timestamp {
  static let microsPerSecond: Int64 = 1_000_000
  static let microsPerDay: Int64 = 86_400 * microsPerSecond

  /// `2026-01-31T12:00:00Z`, with a fraction or another offset if need be; no offset is UTC. Nil for anything else.
  static func parse(_ text: String) -> Int64? {
    let form =
      /(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+\-])(\d\d):(\d\d))?/
    guard text.utf8.count <= 40, let parts = text.wholeMatch(of: form)?.output else { return nil }
    guard let year = Int64(parts.1), let month = Int64(parts.2), let day = Int64(parts.3),
      let hour = Int64(parts.4), let minute = Int64(parts.5), let second = Int64(parts.6),
      (1...12).contains(month), hour < 24, minute < 60, second < 60
    else { return nil }
    let days = CivilDate.days(year: year, month: month, day: day)
    guard CivilDate(days: days) == CivilDate(year: year, month: month, day: day) else { return nil }
    var seconds = days * 86_400 + hour * 3_600 + minute * 60 + second
    if let sign = parts.8, let hours = parts.9.flatMap({ Int64($0) }),
      let minutes = parts.10.flatMap({ Int64($0) })
    {
      guard hours < 24, minutes < 60 else { return nil }
      seconds -= (sign == "-" ? -1 : 1) * (hours * 3_600 + minutes * 60)
    }
    let fraction = ((parts.7.map(String.init) ?? "") + "000000").prefix(6)
    return seconds * microsPerSecond + (Int64(fraction) ?? 0)
  }

  /// In UTC, with the fraction only if there is one.
  static func text(micros: Int64) -> String {
    var bytes: [UInt8] = []
    CivilDate.appendTimestamp(micros, fractionDigits: micros % microsPerSecond == 0 ? 0 : 6, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// A day of the proleptic Gregorian calendar. Formulas: Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", https://howardhinnant.github.io/date_algorithms.html.
struct CivilDate: Equatable {
  var year: Int64
  /// 1 to 12.
  var month: Int64
  /// 1 to 31.
  var day: Int64

  init(year: Int64, month: Int64, day: Int64) {
    (self.year, self.month, self.day) = (year, month, day)
  }

  /// The day that many days after 1970-01-01.
  init(days: Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  }

  /// Days since 1970-01-01.
  static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// Appends `2026-01-31T12:00:00.123Z` for a time in microseconds, cut to the fraction's digits (0 to 6).
  /// `suffix` stands at the end instead of Z.
  static func appendTimestamp(
    _ micros: Int64, fractionDigits: Int, suffix: StaticString = "Z", to bytes: inout [UInt8]
  ) {
    let (day, rest) = floorDivide(micros, Timestamp.microsPerDay)
    let date = CivilDate(days: day)
    let second = rest / Timestamp.microsPerSecond
    bytes.appendDigits(date.year, width: 4)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendDigits(date.month, width: 2)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendDigits(date.day, width: 2)
    bytes.append(UInt8(ascii: "T"))
    bytes.appendDigits(second / 3_600, width: 2)
    bytes.append(UInt8(ascii: ":"))
    bytes.appendDigits(second / 60 % 60, width: 2)
    bytes.append(UInt8(ascii: ":"))
    bytes.appendDigits(second % 60, width: 2)
    if fractionDigits > 0 {
      var fraction = rest % Timestamp.microsPerSecond
      for _ in fractionDigits..<6 { fraction /= 10 }
      bytes.append(UInt8(ascii: "."))
      bytes.appendDigits(fraction, width: fractionDigits)
    }
    bytes.append(suffix)
  }

  private static func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, rest: Int64) {
    let (quotient, rest) = value.quotientAndRemainder(dividingBy: divisor)
    return rest < 0 ? (quotient - 1, rest + divisor) : (quotient, rest)
  }
}
