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

  /// - Parameter ageMs: Since the first record or position move of the batch; nil when there is neither.
  func decide(events: Int, bytes: Int, ageMs: Int64?, writerIsIdle: Bool) -> Decision {
    guard let ageMs, writerIsIdle else { return .wait(ms: nil) }
    if isFull(events: events, bytes: bytes) || ageMs >= flushMs { return .handOver }
    return .wait(ms: flushMs - ageMs)
  }
}
