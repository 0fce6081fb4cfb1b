/// What a rebuild found and did.
public struct RebuildReport: Encodable, Equatable, Sendable {
  /// Whether it only looked.
  public var dryRun: Bool
  /// Days whose raw rows were read, as far as they lie in the range.
  public var days = 0
  /// Days whose raw rows were dropped, and whose rollups were left as they are. `YYYY-MM-DD`, ascending.
  public var droppedDays: [String] = []
  /// Hours, days, windows of a day, and totals that were written anew, each in a transaction of its own.
  public var rebuiltParts = 0
  /// What was left as it is although it may be wrong, and why.
  public var notRebuilt: [String] = []
  /// All differences that were found, also those that are not listed.
  public var differenceCount: Int64 = 0
  /// The first differences: what was stored, and what was, or in a dry run would be, written instead.
  public var differences: [VerificationReport.Difference] = []
}

/// A rebuild that cannot be done: nothing was written for the days it names.
public struct RebuildRefused: Error, Equatable, CustomStringConvertible {
  /// Days of the range whose raw rows were dropped. `YYYY-MM-DD`, ascending.
  public var droppedDays: [String]

  public var description: String {
    let days = droppedDays.prefix(10).joined(separator: ", ")
    let more = droppedDays.count > 10 ? " and \(droppedDays.count - 10) more" : ""
    return
      "the raw rows of \(days)\(more) were dropped by retention, and rollups are made from nothing else: "
      + "choose a range without them, or all days, which leaves them as they are"
  }
}
