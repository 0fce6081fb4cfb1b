/// Microseconds since 2000-01-01T00:00:00Z: PostgreSQL's `timestamptz` in binary.
///
/// Unlike microseconds since 1970 they reach as far as `timestamptz` does.
typealias PostgresMicros = Int64

enum PostgresTime {
  /// 1970-01-01T00:00:00Z to 2000-01-01T00:00:00Z.
  static let unixEpochOffset: Int64 = 946_684_800_000_000
  /// From 4714-11-24 BC up to but without 294277-01-01 (MIN_TIMESTAMP and END_TIMESTAMP in PostgreSQL's
  /// datatype/timestamp.h).
  static let range: Range<PostgresMicros> = -211_813_488_000_000_000..<9_223_371_331_200_000_000

  /// From milliseconds since 1970; nil beyond what `timestamptz` holds.
  static func fromUnix(milliseconds: Int64) -> PostgresMicros? {
    let (micros, overflow) = (milliseconds - unixEpochOffset / 1000).multipliedReportingOverflow(by: 1000)
    return !overflow && range.contains(micros) ? micros : nil
  }

  /// From RFC 3339, section 5.6, with a space allowed in place of the T, and UTC where the offset is missing.
  /// Digits beyond the microsecond are cut off; nil if it is no such time.
  static func fromRFC3339(_ text: UnsafeRawBufferPointer) -> PostgresMicros? {
    var reader = TimeReader(text)
    guard let day = reader.date(), reader.separator(), let clock = reader.clock() else { return nil }
    guard let fraction = reader.fraction(), let offset = reader.offset(), reader.isAtEnd else { return nil }
    let seconds = day * 86_400 + clock.secondOfDay - offset
    // A leap second is inserted at the end of a day in UTC and counted as the second that follows it.
    if clock.isLeapSecond && seconds % 86_400 != 0 { return nil }
    return seconds * 1_000_000 + fraction
  }
}

/// Reads a time from the front; each step is nil if the text does not go on like that.
private struct TimeReader {
  private let bytes: UnsafeRawBufferPointer
  private var at = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var isAtEnd: Bool { at == bytes.count }

  /// Days from 2000-01-01.
  mutating func date() -> Int64? {
    guard let year = number(digits: 4), take("-"), let month = number(digits: 2), take("-"),
      let day = number(digits: 2)
    else { return nil }
    guard (1...12).contains(month), day >= 1, day <= Self.daysIn(month: month, year: year) else { return nil }
    // Days from 0000-03-01, with years that begin in March: then the leap day is a year's last. The date as
    // in Howard Hinnant's "chrono-compatible low-level date algorithms", days_from_civil.
    let shifted = month > 2 ? year : year - 1
    let era = shifted >= 0 ? shifted / 400 : -1
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 730_425
  }

  mutating func separator() -> Bool { take("T") || take("t") || take(" ") }

  mutating func clock() -> (secondOfDay: Int64, isLeapSecond: Bool)? {
    guard let hour = number(digits: 2), take(":"), let minute = number(digits: 2), take(":"),
      let second = number(digits: 2)
    else { return nil }
    guard hour < 24, minute < 60, second <= 60 else { return nil }
    return (hour * 3600 + minute * 60 + second, second == 60)
  }

  /// Microseconds; 0 if there is no fraction.
  mutating func fraction() -> Int64? {
    guard take(".") else { return 0 }
    var micros: Int64 = 0
    var weight: Int64 = 100_000
    let first = at
    while at < bytes.count, let digit = digit(bytes[at]) {
      micros += digit * weight
      weight /= 10
      at += 1
    }
    return at > first ? micros : nil
  }

  /// Seconds east of UTC.
  mutating func offset() -> Int64? {
    if isAtEnd || take("Z") || take("z") { return 0 }
    let isWest = take("-")
    guard isWest || take("+") else { return nil }
    guard let hours = number(digits: 2), take(":"), let minutes = number(digits: 2) else { return nil }
    guard hours < 24, minutes < 60 else { return nil }
    return (isWest ? -1 : 1) * (hours * 3600 + minutes * 60)
  }

  @inline(__always)
  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
    at += 1
    return true
  }

  @inline(__always)
  private mutating func number(digits: Int) -> Int64? {
    guard at + digits <= bytes.count else { return nil }
    var value: Int64 = 0
    for index in at..<at + digits {
      guard let digit = digit(bytes[index]) else { return nil }
      value = value * 10 + digit
    }
    at += digits
    return value
  }

  @inline(__always)
  private func digit(_ byte: UInt8) -> Int64? {
    let digit = byte &- UInt8(ascii: "0")
    return digit < 10 ? Int64(digit) : nil
  }

  private static func daysIn(month: Int64, year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }
}
