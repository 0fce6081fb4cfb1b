/// Decides when the batch that is being filled goes to the database.
///
/// At the live edge a batch goes by its age, so that an event is visible soon; under a backlog, while another batch is
/// being written, it grows up to its bounds, for bigger batches are cheaper for each event.
struct BatchLimits: Equatable, Sendable {
  /// Records, at least 1.
  var events: Int
  /// Bytes of rows and of the records they came from.
  var bytes: Int
  /// Milliseconds from a batch's first record to its hand-over, while the writer is idle.
  var flushMs: Int64

  /// Milliseconds that a batch may age while more records than it holds wait on the brokers.
  static let longestBacklogAgeMs: Int64 = 2_000
  /// A backlog is at least this part of a full batch.
  static let backlogShare = 4
  /// Days that one transaction may touch.
  static let maxDays = 64

  enum Decision: Equatable {
    case handOver
    /// There is nothing to do before that many milliseconds have passed; nil is until something comes.
    case wait(ms: Int64?)
  }

  func isFull(events: Int, bytes: Int) -> Bool {
    events >= self.events || bytes >= self.bytes
  }

  /// - Parameters:
  ///   - ageMs: Since the first record or position move of the batch; nil when there is neither.
  ///   - recordsBehind: Records that wait on the brokers; asked for only when the batch is of age.
  func decide(
    events: Int, bytes: Int, ageMs: Int64?, writerIsIdle: Bool, recordsBehind: () -> Int64 = { 0 }
  ) -> Decision {
    guard let ageMs, writerIsIdle else { return .wait(ms: nil) }
    if isFull(events: events, bytes: bytes) { return .handOver }
    if ageMs < flushMs { return .wait(ms: flushMs - ageMs) }
    let longest = max(flushMs, Self.longestBacklogAgeMs)
    // Under a backlog the next records are here at once, and no event is fresh any more. A few records behind are none:
    // at the live edge some always are, and waiting for them would cost the freshness of all.
    if ageMs < longest && recordsBehind() > max(events, self.events / Self.backlogShare) {
      return .wait(ms: min(longest - ageMs, flushMs))
    }
    return .handOver
  }
}
