import Store
import Telemetry

/// What goes to the database at once: decoded events, dead letters and how far the positions move. A batch, which is one
/// transaction, is one of these or, under a backlog, several: its parts.
///
/// `@unchecked Sendable`: it is handed over whole. The loop that fills it does not touch it again before the writer
/// has sent it back, and there is one of each.
final class IngestBatch: @unchecked Sendable {
  let events: EventBatch
  /// Set at the hand-over.
  var part = BatchPart(advances: [])
  /// The whole batch, if this is its last part. Set at the hand-over.
  var progress = BatchProgress(sinceMs: 0)
  /// Days that the rows may touch, at the most.
  var maxDays = BatchLimits.maxDays
  /// Which assignment it belongs to: what was read under an earlier one is void.
  var assignment = 0
  /// What was counted of each partition, by its index in the batch.
  private(set) var counts: [Counts] = []
  /// Records taken, whatever became of them.
  private(set) var records = 0

  struct Counts: Equatable {
    var records = 0
    /// Bytes of the records' values.
    var valueBytes = 0
    /// Tombstones.
    var skipped = 0
    /// Events that the batch held already.
    var repeated = 0
    /// Stamped outside the times that are replayed.
    var outOfRange = 0
  }

  init() { events = EventBatch() }

  func count(partitionIndex: Int32, _ change: (inout Counts) -> Void) {
    while counts.count <= Int(partitionIndex) { counts.append(Counts()) }
    change(&counts[Int(partitionIndex)])
  }

  func countRecord(partitionIndex: Int32, bytes: Int) {
    records += 1
    count(partitionIndex: partitionIndex) {
      $0.records += 1
      $0.valueBytes += bytes
    }
  }

  /// The moves, each with what it passes that is neither a row nor a dead letter.
  func completed(_ moves: [PositionAdvance]) -> [PositionAdvance] {
    moves.map { move in
      guard let place = events.partitions.firstIndex(of: move.partition), place < counts.count
      else { return move }
      var move = move
      move.passed.skipped = counts[place].skipped
      move.passed.repeated = counts[place].repeated
      move.passed.outOfRange = counts[place].outOfRange
      return move
    }
  }

  func removeAll() {
    events.removeAll()
    part.advances = []
    progress = BatchProgress(sinceMs: 0)
    counts = []
    records = 0
  }
}
