import Telemetry

/// A batch's rows as they are told apart on their way into the table.
struct RecentSplit {
  let batch: EventBatch
  /// In the order of their keys; not among the keys committed lately.
  var candidates: [Int] = []
  /// Committed lately by this worker.
  var recent: [Int] = []
  var stored: [Int] = []
  /// Found in the table.
  var inTable: [Int] = []

  init(_ batch: EventBatch, _ keys: borrowing RecentKeys) {
    self.batch = batch
    candidates.reserveCapacity(batch.count)
    for row in batch.sortedOrder() {
      if keys.contains(batch.key(row)) { recent.append(row) } else { candidates.append(row) }
    }
  }

  /// Takes the rows of dropped days out of the candidates: a repeat could not be told from a new event.
  mutating func takeDropped(_ days: Set<Int32>) -> [DeadLetter] {
    guard !days.isEmpty else { return [] }
    let isDropped = { [batch] (row: Int) in days.contains(UTCBucket.day(ofMicros: batch.key(row).createdAt)) }
    let taken = candidates.filter(isDropped)
    candidates.removeAll(where: isDropped)
    return taken.map { row in
      let day = UTCBucket.day(ofMicros: batch.key(row).createdAt)
      return batch.deadLetter(
        forRow: row, reason: .beforeRetention,
        detail: "the raw rows of \(UTCBucket.date(day)) were dropped by retention")
    }
  }

  /// What became of the rows, by partition.
  func summary(_ late: [DeadLetter]) -> BatchSummary {
    func count(_ rows: [Int]) -> [Int] {
      var counts = [Int](repeating: 0, count: batch.partitions.count)
      for row in rows { counts[Int(batch.source(row).partitionIndex)] += 1 }
      return counts
    }
    return BatchSummary(
      stored: count(stored), duplicates: count(recent + inTable), lateDeadLetters: late,
      eventTimes: stored.map { batch.key($0).createdAt })
  }
}
