import Kafka

/// The end of a partition, and when a broker told it.
struct KnownEnd: Equatable, Sendable {
  /// The offset after the last record that may be read.
  var offset: Int64
  /// When it was asked for, in milliseconds since the Unix epoch.
  var askedAtMs: Int64
}

/// How far a partition is behind.
struct PartitionLag: Equatable, Sendable {
  /// The end of the partition, no less than what was read.
  var end: Int64
  /// Seconds; nil when nothing tells.
  var seconds: Double?
}

/// Estimates each partition's lag in seconds: the age of the oldest record that is not committed.
///
/// Kafka tells the ages of records only with the records. So the age is exact where that record was read, by its own
/// timestamp. Where it was not, as with a partition that is paused, it can be no older than the last committed record,
/// nor than the last time at which a broker said that there was nothing else: the younger of the two is taken, which
/// is an upper bound as long as records are stamped when they are produced.
struct LagEstimate {
  /// When each partition was last known to have no more than what is committed, in milliseconds since the Unix epoch.
  private var caughtUpMs: [TopicPartition: Int64] = [:]

  mutating func lag(of progress: PartitionProgress, end: KnownEnd, nowMs: Int64) -> PartitionLag {
    let last = max(end.offset, progress.next)
    if end.offset <= progress.committed { caughtUpMs[progress.partition] = end.askedAtMs }
    guard last > progress.committed else { return PartitionLag(end: last, seconds: 0) }
    let oldest =
      progress.times.oldestInHand
      ?? [progress.times.lastCommitted, caughtUpMs[progress.partition]].compactMap(\.self).max()
    return PartitionLag(end: last, seconds: oldest.map { Double(max(0, nowMs - $0)) / 1_000 })
  }

  /// Forgets all partitions but these.
  mutating func keep(_ partitions: Set<TopicPartition>) {
    caughtUpMs = caughtUpMs.filter { partitions.contains($0.key) }
  }
}
