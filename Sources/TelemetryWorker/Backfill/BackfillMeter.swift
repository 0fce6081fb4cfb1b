/// Tells how far a backfill has come and how long it will take.
struct BackfillMeter: Equatable, Sendable {
  /// Offsets that the whole job replays.
  let total: Int64
  /// Offsets that were left when this process began.
  private let remainingAtStart: Int64
  private let startMs: Int64

  init(total: Int64, remaining: Int64, nowMs: Int64) {
    self.total = total
    remainingAtStart = remaining
    startMs = nowMs
  }

  struct Reading: Equatable {
    var done: Int64
    var total: Int64
    /// Percent.
    var share: Double
    /// Records a second since this process began.
    var rate: Double
    /// Nil while nothing was read.
    var secondsLeft: Double?
  }

  func read(remaining: Int64, nowMs: Int64) -> Reading {
    let seconds = Double(max(1, nowMs - startMs)) / 1_000
    let rate = Double(max(0, remainingAtStart - remaining)) / seconds
    return Reading(
      done: total - remaining, total: total,
      share: total == 0 ? 100 : 100 * Double(total - remaining) / Double(total), rate: rate,
      secondsLeft: remaining == 0 ? 0 : rate > 0 ? Double(remaining) / rate : nil)
  }
}

extension BackfillMeter.Reading {
  /// One line, without a line end.
  func line(job: String) -> String {
    let left = secondsLeft.map { "about \(Self.span($0)) left" } ?? "waiting for records"
    return "backfill \(job): \(percent) % of \(NumberText.grouped(total)) records, "
      + "\(NumberText.grouped(Int64(rate.rounded())))/s, \(left)"
  }

  /// With one decimal, rounded down: 100 is all.
  var percent: String {
    let tenths = Int64(share * 10)
    return "\(tenths / 10).\(tenths % 10)"
  }

  private static func span(_ seconds: Double) -> String {
    let seconds = Int64(seconds.rounded(.up))
    if seconds < 60 { return "\(seconds) s" }
    if seconds < 3_600 { return "\(seconds / 60) min \(seconds % 60) s" }
    return "\(seconds / 3_600) h \(seconds % 3_600 / 60) min"
  }
}
