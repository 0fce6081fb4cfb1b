import Kafka

/// How far one partition has been read and handed over.
///
/// `stored` ≤ `next`: Postgres will hold `stored` once every batch handed over so far is committed.
struct PartitionProgress: Equatable, Sendable {
  let partition: TopicPartition
  /// What the offsets row holds once all that was handed over is committed.
  private(set) var stored: Int64
  /// The first offset that was not taken yet.
  private(set) var next: Int64
  /// What the last acknowledged COMMIT left in the offsets row.
  private(set) var committed: Int64
  /// Kafka's timestamp of the last record taken, in milliseconds; nil while there is none.
  private(set) var lastTimestampMs: Int64?
  private(set) var times = RecordTimes()
  /// The first offset that is not read any more, for a partition that is replayed; `.max` is without an end.
  let end: Int64
  /// Offsets that the broker had deleted, since the last hand-over.
  private var missing: Int64

  /// - Parameters:
  ///   - stored: What the offsets row holds.
  ///   - next: Where reading goes on: behind `stored` where the broker has dropped records.
  init(partition: TopicPartition, stored: Int64, next: Int64, end: Int64 = .max) {
    self.partition = partition
    self.stored = stored
    self.end = end
    self.next = max(stored, min(next, end))
    missing = self.next - stored
    committed = stored
  }

  var hasMoved: Bool { next > stored }
  /// Everything up to the end was taken.
  var isRead: Bool { next >= end }
  /// Everything up to the end is committed.
  var isDone: Bool { committed >= end }

  /// Whether a record is the next one, or one behind a hole that compaction or a transaction marker left; false for
  /// one that was taken before, or that stands at the end or behind it.
  mutating func take(offset: Int64, timestampMs: Int64) -> Bool {
    guard offset >= next else { return false }
    guard offset < end else {
      next = end
      return false
    }
    next = offset + 1
    if timestampMs >= 0 {
      lastTimestampMs = timestampMs
      times.took(timestampMs)
    }
    return true
  }

  /// The end of the partition was reached: what lies between the last record and it are no records.
  mutating func reachedEnd(at offset: Int64) {
    next = max(next, min(offset, end))
  }

  /// The broker's oldest record is at `low`. Returns how many offsets are gone.
  mutating func skipGap(to low: Int64) -> Int64 {
    let gone = min(low, end) - next
    guard gone > 0 else { return 0 }
    next += gone
    missing += gone
    return gone
  }

  /// The move that a batch makes, or nil when there is none.
  ///
  /// - Parameter held: The first offset that was taken but has to wait for the next batch. A move beyond it would lose
  ///   that record if the worker died between the two.
  mutating func handOver(heldFrom held: Int64? = nil) -> Move? {
    let to = min(next, held ?? next)
    guard to > stored else { return nil }
    times.handedOver(all: to == next)
    var move = Move(from: stored, to: to, lastTimestampMs: lastTimestampMs)
    // A gap behind what is held back would be found again if the worker died before the next batch.
    if to == next { swap(&move.missing, &missing) }
    stored = to
    return move
  }

  struct Move: Equatable {
    var from: Int64
    var to: Int64
    var lastTimestampMs: Int64?
    /// Offsets between the two that the broker had deleted.
    var missing: Int64 = 0
  }

  mutating func acknowledge(_ offset: Int64) {
    committed = max(committed, offset)
    times.committed()
  }
}
