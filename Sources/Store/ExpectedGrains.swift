import Dispatch
import Synchronization
import Telemetry

/// A batch's events grouped for the rollups as if all its candidates turned out to be new, on another thread while the
/// rows travel: that is a third of the client's work for a batch, and the server waited for it.
struct ExpectedGrains {
  private let batch: EventBatch
  private let rows: [Int]
  private let windowFloorMicros: Int64
  private let work: Work?

  /// Fewer rows are not worth a thread.
  private static let smallBatch = 2_000

  /// Begins. The batch must not change before `grains(stored:)` has returned, or this value is gone.
  init(batch: EventBatch, rows: [Int], windowFloorMicros: Int64) {
    self.batch = batch
    self.rows = rows
    self.windowFloorMicros = windowFloorMicros
    work = rows.count < Self.smallBatch ? nil : Work(batch, rows, windowFloorMicros)
  }

  /// The rows that were stored: as expected, if that is all of them. To be called once.
  func grains(stored: [Int]) -> BatchGrains {
    if let work, stored.count == rows.count { return work.wait() }
    return BatchGrains(batch: batch, rows: stored, windowFloorMicros: windowFloorMicros)
  }

  /// The computation. Whoever drops it waits for its end, for the batch is reused.
  private final class Work {
    private let group = DispatchGroup()
    private let result = Result()

    /// Shared with the other thread.
    private final class Result: Sendable {
      let grains = Mutex<BatchGrains?>(nil)
    }

    init(_ batch: EventBatch, _ rows: [Int], _ windowFloorMicros: Int64) {
      // Only read, by both threads, until `deinit` has waited.
      nonisolated(unsafe) let batch = batch
      DispatchQueue.global(qos: .userInitiated).async(group: group) { [result] in
        result.grains.withLock {
          $0 = BatchGrains(batch: batch, rows: rows, windowFloorMicros: windowFloorMicros)
        }
      }
    }

    deinit { group.wait() }

    func wait() -> BatchGrains {
      group.wait()
      guard let grains = result.grains.withLock({ $0.take() }) else {
        preconditionFailure("the computation has ended without a result, or that was taken before")
      }
      return grains
    }
  }
}
