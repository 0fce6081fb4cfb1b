import Kafka
import Store
import Telemetry

/// Where a group starts to read a partition for which Postgres holds no position yet.
public enum StartPosition: Equatable, Sendable {
  case earliest
  case latest
  /// The first record stamped at or after this time, in milliseconds since the Unix epoch.
  case time(Int64)
}

/// Why positions cannot be used. The worker stops and says so: reading on would lose events or store strangers' ones.
public enum PositionError: Error, Equatable, CustomStringConvertible {
  case beyondEnd(partition: TopicPartition, position: Int64, end: Int64)
  case otherCluster(partition: TopicPartition, stored: String, found: String)
  /// A backfill was to read further than the partition goes now.
  case endIsGone(partition: TopicPartition, end: Int64, found: Int64)
  /// A backfill's position was deleted.
  case positionIsGone(partition: TopicPartition)

  public var description: String {
    switch self {
    case .beyondEnd(let partition, let position, let end):
      "the stored position of \(partition) is \(position), but the partition ends at \(end): was the topic deleted "
        + "and made anew? Nothing was read. telemetry-worker offsets reset --topic \(partition.topic) --to earliest "
        + "reads the new one from its beginning"
    case .otherCluster(let partition, let stored, let found):
      "the stored position of \(partition) belongs to the Kafka cluster \(stored), but the brokers are of cluster "
        + "\(found): check kafka.brokers, or use another kafka.group for the new cluster"
    case .endIsGone(let partition, let end, let found):
      "\(partition) was to be replayed up to offset \(end), but it ends at \(found) now: was the topic deleted and "
        + "made anew? Nothing more was read. Start another backfill under another --job"
    case .positionIsGone(let partition):
      "the backfill's position of \(partition) is gone from chat_telemetry_offsets: start another backfill under "
        + "another --job; what is stored adds nothing when it is replayed"
    }
  }
}

/// Finds out where partitions start and whether their stored positions can be used. Blocks on the brokers.
struct StartPositions {
  let consumer: Consumer
  let start: StartPosition
  /// Where partitions that are replayed end; the others have no end.
  var ends: [TopicPartition: Int64] = [:]
  /// For each question to the brokers, in milliseconds.
  let timeoutMs: Int32 = 5_000

  /// To be asked before anything is inserted.
  /// - Throws: `PositionError.otherCluster`.
  func refuseOtherCluster(
    _ stored: [TopicPartitionName: StoredPosition], clusterID: String?
  ) throws(PositionError) {
    guard let clusterID else { return }
    for (name, position) in stored {
      guard let known = position.clusterID, known != clusterID else { continue }
      let partition = TopicPartition(topic: name.topic, partition: name.partition)
      throw .otherCluster(partition: partition, stored: known, found: clusterID)
    }
  }

  /// First positions for what has none. A topic that the group has never read gets one for every partition, so that
  /// a partition that appears later is known to be new; such a one starts at its beginning.
  func missing(
    owned: [TopicPartition], stored: [TopicPartitionName: StoredPosition]
  ) throws(KafkaError) -> [TopicPartitionName: Int64] {
    let knownTopics = Set(stored.keys.map(\.topic))
    var starts: [TopicPartitionName: Int64] = [:]
    for partition in owned where stored[partition.name] == nil && starts[partition.name] == nil {
      if knownTopics.contains(partition.topic) {
        starts[partition.name] = try consumer.watermarks(of: partition, timeoutMs: timeoutMs).low
      } else {
        let count = try consumer.partitionCount(ofTopic: partition.topic, timeoutMs: timeoutMs)
        for number in 0..<max(count, partition.partition + 1) {
          let each = TopicPartition(topic: partition.topic, partition: number)
          starts[each.name] = try first(of: each)
        }
      }
    }
    return starts
  }

  private func first(of partition: TopicPartition) throws(KafkaError) -> Int64 {
    let watermarks = try consumer.watermarks(of: partition, timeoutMs: timeoutMs)
    switch start {
    case .earliest: return watermarks.low
    case .latest: return watermarks.high
    case .time(let milliseconds):
      let found = try consumer.offsets(ofTime: milliseconds, in: [partition], timeoutMs: timeoutMs)
      return found.first.map(\.offset) ?? watermarks.high
    }
  }

  /// Where each owned partition goes on; `next` lies behind `stored` where the broker has dropped records.
  /// - Throws: `KafkaError`, `PositionError`.
  func resume(
    owned: [TopicPartition], stored: [TopicPartitionName: StoredPosition]
  ) throws -> [PartitionProgress] {
    try owned.map { partition in
      guard let position = stored[partition.name] else {
        throw PositionError.positionIsGone(partition: partition)
      }
      let watermarks = try consumer.watermarks(of: partition, timeoutMs: timeoutMs)
      let end = ends[partition]
      if let end, end > watermarks.high, end > position.nextOffset {
        throw PositionError.endIsGone(partition: partition, end: end, found: watermarks.high)
      }
      guard position.nextOffset <= watermarks.high else {
        throw PositionError.beyondEnd(
          partition: partition, position: position.nextOffset, end: watermarks.high)
      }
      return PartitionProgress(
        partition: partition, stored: position.nextOffset, next: watermarks.low, end: end ?? .max)
    }
  }
}

extension TopicPartition {
  var name: TopicPartitionName { TopicPartitionName(topic: topic, partition: partition) }
}
