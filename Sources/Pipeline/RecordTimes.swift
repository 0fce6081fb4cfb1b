/// Kafka's timestamps of a partition's records on their way to the database, in milliseconds since the Unix epoch: what
/// the lag in seconds is told from. A record without a timestamp leaves no trace here.
struct RecordTimes: Equatable, Sendable {
  private var firstTaken: Int64?
  private var lastTaken: Int64?
  /// Of the batch with the writer.
  private var firstHanded: Int64?
  private var lastHanded: Int64?
  /// Of the last record whose COMMIT was acknowledged.
  private(set) var lastCommitted: Int64?

  /// Of the oldest record that was read and is not committed; nil when nothing is in hand.
  var oldestInHand: Int64? { firstHanded ?? firstTaken }

  mutating func took(_ timestamp: Int64) {
    if firstTaken == nil { firstTaken = timestamp }
    lastTaken = timestamp
  }

  /// - Parameter all: False when some records are held back for the next batch. Their first one's time was not kept, so
  ///   they pass for as old as the first of this batch, until that next batch is committed too.
  mutating func handedOver(all: Bool) {
    (firstHanded, lastHanded) = (firstTaken, lastTaken)
    if all { firstTaken = nil }
  }

  /// The batch with the writer is committed.
  mutating func committed() {
    lastCommitted = lastHanded ?? lastCommitted
    (firstHanded, lastHanded) = (nil, nil)
  }
}
