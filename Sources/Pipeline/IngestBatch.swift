import Store
import Telemetry

/// Everything that goes to the database in one transaction: decoded events, dead letters and how far the positions move.
///
/// `@unchecked Sendable`: it is handed over whole. The loop that fills it does not touch it again before the writer
/// has sent it back, and there is one of each.
final class IngestBatch: @unchecked Sendable {
  let events: EventBatch
  /// Set at the hand-over.
  var advances: [PositionAdvance] = []
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

  /// Tells each move what it passes that is neither a row nor a dead letter.
  func completeAdvances() {
    for index in advances.indices {
      guard let place = events.partitions.firstIndex(of: advances[index].partition), place < counts.count
      else { continue }
      advances[index].passed.skipped = counts[place].skipped
      advances[index].passed.repeated = counts[place].repeated
      advances[index].passed.outOfRange = counts[place].outOfRange
    }
  }

  func removeAll() {
    events.removeAll()
    advances = []
    counts = []
    records = 0
  }
}
