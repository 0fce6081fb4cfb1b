import Dispatch
import Synchronization
import Telemetry

/// What a batch adds to the rollups if all its candidates turn out to be new, worked out on another thread while the
/// rows travel: that is a third of the client's work for a batch, and the server waited for it.
struct ExpectedDeltas {
  private let batch: EventBatch
  private let rows: [Int]
  private let windowFloorMicros: Int64
  private let work: Work?

  /// Fewer rows are not worth a thread.
  private static let smallBatch = 2_000

  /// Begins. The batch must not change before `deltas(stored:)` has returned, or this value is gone.
  init(batch: EventBatch, rows: [Int], windowFloorMicros: Int64) {
    self.batch = batch
    self.rows = rows
    self.windowFloorMicros = windowFloorMicros
    work = rows.count < Self.smallBatch ? nil : Work(batch, rows, windowFloorMicros)
  }

  /// What the rows that were stored add: as expected, if that is all of them.
  func deltas(stored: [Int]) -> RollupDeltas {
    if let work, stored.count == rows.count { return work.wait() }
    return RollupDeltas(batch: batch, rows: stored, windowFloorMicros: windowFloorMicros)
  }

  /// The computation. Whoever drops it waits for its end, for the batch is reused.
  private final class Work {
    private let group = DispatchGroup()
    private let result = Result()

    /// Shared with the other thread.
    private final class Result: Sendable {
      let deltas = Mutex<RollupDeltas?>(nil)
    }

    init(_ batch: EventBatch, _ rows: [Int], _ windowFloorMicros: Int64) {
      // Only read, by both threads, until `deinit` has waited.
      nonisolated(unsafe) let batch = batch
      DispatchQueue.global(qos: .userInitiated).async(group: group) { [result] in
        let deltas = RollupDeltas(batch: batch, rows: rows, windowFloorMicros: windowFloorMicros)
        result.deltas.withLock { $0 = deltas }
      }
    }

    deinit { group.wait() }

    func wait() -> RollupDeltas {
      group.wait()
      guard let deltas = result.deltas.withLock({ $0 }) else {
        preconditionFailure("the computation has ended without deltas")
      }
      return deltas
    }
  }
}
