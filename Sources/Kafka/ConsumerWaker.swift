import CRdKafka
import Synchronization

/// Makes a consumer's poll return from another thread.
///
/// Sendable because the queue is only reached under the lock; librdkafka's queues are themselves thread-safe.
public final class ConsumerWaker: Sendable {
  /// A reference to the consumer's queue, nil once the consumer is closed.
  private let queue: Mutex<OpaquePointer?>

  init(client: OpaquePointer) {
    // Unsafe only to the compiler: this reference is handed to the lock, and nobody else has it.
    nonisolated(unsafe) let reference = rd_kafka_queue_get_consumer(client)
    queue = Mutex(reference)
  }

  /// Makes the poll in progress return at once, or the next one if none is: a wake-up is never lost. Callable
  /// on any thread, at any time; does nothing after the consumer was closed.
  public func wake() {
    queue.withLock { queue in
      if let queue { rd_kafka_queue_yield(queue) }
    }
  }

  /// Must come before the client is destroyed, which waits for all references to its queues.
  func disconnect() {
    queue.withLock { queue in
      if let queue { rd_kafka_queue_destroy(queue) }
      queue = nil
    }
  }
}
