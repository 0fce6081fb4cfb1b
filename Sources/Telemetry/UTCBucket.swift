/// Buckets of event time, all in UTC. Times are microseconds since 1970-01-01T00:00:00Z, and every time that
/// PostgreSQL's timestamptz can hold is far enough from the ends of Int64 for these not to overflow.
public enum UTCBucket {
  public static let minuteMicros: Int64 = 60_000_000
  public static let hourMicros: Int64 = 3_600_000_000
  public static let dayMicros: Int64 = 86_400_000_000
  public static let minutesPerDay: Int64 = 1440

  /// Days since 1970-01-01, rounded down: one microsecond before it is day -1.
  @inline(__always)
  public static func day(ofMicros micros: Int64) -> Int32 {
    // At most 106,751,992 days fit in 64 bits of microseconds.
    Int32(truncatingIfNeeded: floorDivide(micros, dayMicros))
  }

  /// A day as people write it, e.g. `2026-03-01` (the days-to-civil algorithm of Howard Hinnant, "chrono-Compatible
  /// Low-Level Date Algorithms").
  public static func date(_ day: Int32) -> String {
    let shifted = Int(day) + 719_468
    let era = Int(floorDivide(Int64(shifted), 146_097))
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let dayOfMonth = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func padded(_ number: Int, _ width: Int) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(year, 4))-\(padded(month, 2))-\(padded(dayOfMonth, 2))"
  }

  /// The start of the hour, in microseconds.
  @inline(__always)
  public static func hourStart(ofMicros micros: Int64) -> Int64 {
    floorDivide(micros, hourMicros) * hourMicros
  }

  /// Minutes since 1970-01-01T00:00Z, rounded down.
  @inline(__always)
  static func minute(ofMicros micros: Int64) -> Int64 { floorDivide(micros, minuteMicros) }

  @inline(__always)
  static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
    let quotient = value / divisor
    return value % divisor < 0 ? quotient - 1 : quotient
  }
}
