/// Decides when the part of a batch that is being filled goes to the database, and whether the batch ends with it.
///
/// At the live edge a batch goes by its age, so that an event is visible soon. Under a backlog it grows up to its bounds,
/// for bigger batches are cheaper for each event: a part goes whenever it fills the memory that it may take, and the
/// batch, which is the transaction, goes on with the next one.
struct BatchLimits: Equatable, Sendable {
  /// Records of a batch, at least 1.
  var events: Int
  /// Bytes of a part: its rows, and the records they came from where those are kept.
  var bytes: Int
  /// Milliseconds from a part's first record to its hand-over, while the writer is idle.
  var flushMs: Int64

  /// Milliseconds that a part may age while more records than it holds wait on the brokers.
  static let longestBacklogAgeMs: Int64 = 2_000
  /// A backlog is at least this many records, or this part of a batch where that is less.
  static let backlogEvents = 25_000
  static let backlogShare = 4
  /// Days that one transaction may touch.
  static let maxDays = 64
  /// Days after which a batch ends, so that each part may touch as many.
  static let daysToEnd = 32
  /// Bytes of what is kept for the rollups after which a batch ends. It may grow by half as much more with the last part.
  static let sumsBytesToEnd = 44 << 20
  /// Milliseconds after which a batch ends: what is not committed is read again when it fails.
  static let longestBatchMs: Int64 = 5_000

  enum Decision: Equatable {
    case handOver
    /// There is nothing to do before that many milliseconds have passed; nil is until something comes.
    case wait(ms: Int64?)
  }

  /// What a batch has come to with the parts that are handed over.
  struct Size: Equatable {
    var events: Int
    /// Of what is kept for the rollups.
    var sumsBytes: Int
    var days: Int
    var ageMs: Int64
  }

  /// - Parameters:
  ///   - events: Of the part.
  ///   - before: Events in the earlier parts of the batch.
  func isFull(events: Int, before: Int, bytes: Int) -> Bool {
    events + before >= self.events || bytes >= self.bytes
  }

  /// Whether another part follows a full one in its batch: if more records than that had wait, and the batch has room.
  func goesOn(_ batch: Size, lastPart events: Int, recordsBehind: Int64) -> Bool {
    batch.events < self.events && recordsBehind > events && batch.ageMs < Self.longestBatchMs
      && batch.sumsBytes < Self.sumsBytesToEnd && batch.days <= Self.daysToEnd
  }

  /// - Parameters:
  ///   - ageMs: Since the first record or position move of the part; nil when there is neither.
  ///   - recordsBehind: Records that wait on the brokers; asked for only when the part is of age.
  func decide(
    events: Int, isFull: Bool, ageMs: Int64?, writerIsIdle: Bool, recordsBehind: () -> Int64 = { 0 }
  ) -> Decision {
    guard let ageMs, writerIsIdle else { return .wait(ms: nil) }
    if isFull { return .handOver }
    if ageMs < flushMs { return .wait(ms: flushMs - ageMs) }
    let longest = max(flushMs, Self.longestBacklogAgeMs)
    // Under a backlog the next records are here at once, and no event is fresh any more. A few records behind are none:
    // at the live edge some always are, and waiting for them would cost the freshness of all.
    if ageMs < longest && recordsBehind() > max(events, backlog) {
      return .wait(ms: min(longest - ageMs, flushMs))
    }
    return .handOver
  }

  private var backlog: Int { min(Self.backlogEvents, events / Self.backlogShare) }
}

/// How many parts a batch may have: one at first, so that a worker that starts behind shows something soon, then more and
/// more. After a batch was lost, whole ones only for a while: what a database in trouble undoes, or workers that wait for
/// each other's keys, is then read and written again in small pieces.
struct BatchGrowth: Equatable, Sendable {
  private(set) var parts = 1
  private var steadyUntilMs = Int64.min

  private static let factor = 8
  private static let mostParts = 1 << 20
  /// Milliseconds without growth after a loss.
  static let steadyAfterLossMs: Int64 = 30_000

  mutating func committed(nowMs: Int64) {
    if nowMs >= steadyUntilMs { parts = min(parts * Self.factor, Self.mostParts) }
  }

  mutating func lost(nowMs: Int64) {
    parts = 1
    steadyUntilMs = nowMs + Self.steadyAfterLossMs
  }
}
