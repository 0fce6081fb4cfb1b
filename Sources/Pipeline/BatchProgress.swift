import Store
import Telemetry

/// A batch on its way to the database: what the parts handed over so far come to.
struct BatchProgress {
  /// When the first part was handed over, of the steady clock.
  let sinceMs: Int64
  /// From where the batch began, in the order of the partitions.
  private(set) var advances: [PositionAdvance] = []
  private(set) var parts = 0
  private(set) var records = 0
  /// Days that its rows touch.
  private(set) var days: Set<Int32> = []
  /// Bytes that are kept for its rollups, as far as its rows are written.
  private(set) var sumsBytes = 0
  /// Of the parts that are written.
  var report = BatchReport()

  init(sinceMs: Int64) { self.sinceMs = sinceMs }

  /// Adds a part, with the moves since the one before it.
  mutating func add(_ moves: [PositionAdvance], of part: IngestBatch) {
    for move in part.completed(moves) {
      if let place = advances.firstIndex(where: { $0.partition == move.partition }) {
        advances[place].add(move)
      } else {
        advances.append(move)
      }
    }
    advances.sort {
      ($0.partition.topic, $0.partition.partition) < ($1.partition.topic, $1.partition.partition)
    }
    parts += 1
    records += part.records
    days.formUnion(part.events.days)
  }

  /// A part is written; the transaction is open.
  mutating func appended(_ part: IngestBatch, _ summary: BatchSummary, seconds: Double) {
    sumsBytes = summary.sumsBytes
    report.add(part, summary, seconds: seconds)
  }

  func size(nowMs: Int64) -> BatchLimits.Size {
    BatchLimits.Size(events: records, sumsBytes: sumsBytes, days: days.count, ageMs: nowMs - sinceMs)
  }
}
