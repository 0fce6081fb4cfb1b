import Foundation

/// Messages from any thread to the one that takes them.
///
/// `@unchecked Sendable`: every access to the mutable state is made with `condition` locked.
public final class Mailbox<Message: Sendable>: @unchecked Sendable {
  private let condition = NSCondition()
  private var messages: [Message] = []

  public init() {}

  /// Leaves a message and wakes the thread that waits, if it does.
  public func put(_ message: Message) {
    condition.withLock {
      messages.append(message)
      condition.signal()
    }
  }

  /// Takes all messages, in the order in which they came; none is waited for.
  public func takeAll() -> [Message] {
    condition.withLock {
      defer { messages.removeAll() }
      return messages
    }
  }

  /// Waits until there is a message, or the time is up.
  public func wait(upTo limit: Duration) {
    let seconds = Double(limit.components.seconds) + Double(limit.components.attoseconds) * 1e-18
    let deadline = Date(timeIntervalSinceNow: seconds)
    condition.withLock {
      while messages.isEmpty && condition.wait(until: deadline) {}
    }
  }
}
