import Foundation

/// The clock a cron expression is read by: UTC, or that of an IANA time zone with its daylight-saving
/// changes.
public struct CronZone: Equatable, Sendable {
  public static let utc = CronZone()

  /// The IANA name.
  public let name: String
  /// Nil for UTC, which needs no table.
  private let zone: TimeZone?

  private init() {
    name = "UTC"
    zone = nil
  }

  /// - Parameter name: an IANA name such as `Europe/Berlin`, or `UTC`.
  /// - Throws: ``CronError/unknownZone(_:)``.
  public init(_ name: String) throws(CronError) {
    if name == "UTC" {
      self = .utc
      return
    }
    // TimeZone also takes abbreviations and offsets, whose meaning differs from place to place.
    guard name.contains("/"), let zone = TimeZone(identifier: name) else { throw .unknownZone(name) }
    self.name = name
    self.zone = zone
  }

  /// Seconds that local time is ahead of UTC.
  func offset(at second: Int64) -> Int64 {
    guard let zone else { return 0 }
    return Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(second))))
  }

  /// The first second in `(start, end]` whose offset differs from the second before. Looks once a day: no
  /// zone changes its clock and back within one.
  func firstChange(after start: Int64, notAfter end: Int64) -> Int64? {
    guard zone != nil else { return nil }
    let offset = offset(at: start)
    var same = start
    while same < end {
      let probe = min(same + 86_400, end)
      if self.offset(at: probe) != offset { return change(after: same, notAfter: probe, from: offset) }
      same = probe
    }
    return nil
  }

  /// The end of the local times that come for the second time, when `second` is within them; else `second`.
  func repeatedUntil(at second: Int64) -> Int64 {
    let day = second - 86_400
    guard let change = firstChange(after: day, notAfter: second) else { return second }
    return max(second, change + offset(at: day) - offset(at: change))
  }

  /// Halves the interval until the change is found to the second.
  private func change(after start: Int64, notAfter end: Int64, from offset: Int64) -> Int64 {
    var (same, different) = (start, end)
    while different - same > 1 {
      let middle = same + (different - same) / 2
      if self.offset(at: middle) == offset { same = middle } else { different = middle }
    }
    return different
  }
}
