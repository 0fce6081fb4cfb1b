import Kafka
import Store
import Telemetry

/// Where a replay begins or ends, as a person says it.
public enum ReplayBound: Equatable, Sendable {
  /// The oldest record the broker keeps.
  case earliest
  /// The end of the partition at the start of the replay.
  case latest
  case offset(Int64)
  /// Kafka's timestamps from this time on, or up to it; microseconds since the Unix epoch.
  case time(micros: Int64)

  /// As Kafka counts. Rounded up: records are stamped in whole milliseconds, and the first one that is not before a
  /// time is meant for both ends.
  var milliseconds: Int64? {
    guard case .time(let micros) = self else { return nil }
    return micros / 1_000 + (micros % 1_000 > 0 ? 1 : 0)
  }
}

/// What cannot be replayed as it was asked for.
public enum ReplayPlanError: Error, Equatable, CustomStringConvertible {
  case unknownTopic(String)
  case unknownPartition(Int32, topic: String, count: Int32)

  public var description: String {
    switch self {
    case .unknownTopic(let topic):
      "the brokers know no topic \"\(topic)\": check --topic, or kafka.topics, and kafka.brokers"
    case .unknownPartition(let partition, let topic, let count):
      "topic \"\(topic)\" has no partition \(partition): it has \(count), from 0 to \(count - 1)"
    }
  }
}

/// Fixes what a backfill replays, by asking the brokers. Blocks on them.
public struct ReplayPlan: Sendable {
  public var partitions: [BackfillPartition]
  /// For each, how many of its offsets the broker has deleted already.
  public var gaps: [TopicPartitionName: Int64]
  public var fromMs: Int64?
  public var toMs: Int64?
  public var clusterID: String?

  /// For each question to the brokers, in milliseconds.
  private static let timeoutMs: Int32 = 10_000

  /// - Parameters:
  ///   - partitions: nil is all of each topic.
  ///   - disorderMs: How far behind an earlier record's timestamp a later record's may be; nil is not known. Only then is
  ///     a partition read to its end for the sake of records that came late.
  /// - Throws: `KafkaError`, `ReplayPlanError`.
  public static func make(
    brokers: String, properties: KafkaProperties, topics: [String], partitions: [Int32]?, from: ReplayBound,
    to: ReplayBound, disorderMs: Int64?
  ) throws -> ReplayPlan {
    let consumer = try Consumer(brokers: brokers, group: "backfill", properties: properties)
    defer { consumer.close(timeoutMs: 1_000) }
    var plan = ReplayPlan(
      partitions: [], gaps: [:], fromMs: from.milliseconds, toMs: to.milliseconds,
      clusterID: try consumer.clusterID(timeoutMs: timeoutMs))
    var endMs: Int64?
    if let toMs = plan.toMs, let disorderMs { endMs = toMs + disorderMs }
    for partition in try all(consumer, topics, partitions) {
      let watermarks = try consumer.watermarks(of: partition, timeoutMs: timeoutMs)
      let times = TimeOffsets(
        from: try first(consumer, partition, plan.fromMs), to: try first(consumer, partition, endMs))
      let range = range(from: from, to: to, watermarks, times)
      let gap = min(watermarks.low, range.upperBound) - range.lowerBound
      if gap > 0 { plan.gaps[partition.name] = gap }
      plan.partitions.append(
        BackfillPartition(name: partition.name, start: range.lowerBound, end: range.upperBound))
    }
    return plan
  }

  /// What the broker's index of times answers; nil is that no record is stamped so late.
  struct TimeOffsets: Equatable {
    var from: Int64?
    var to: Int64?
  }

  /// The offsets to be read of one partition.
  ///
  /// From a time: the broker names the first record stamped at or after it, so none before that one is within. To a
  /// time: the first record stamped at or after it is no end, for records stamped earlier may stand behind it; only the
  /// end of the partition is, unless it is known how much out of order records can be.
  static func range(
    from: ReplayBound, to: ReplayBound, _ watermarks: Watermarks, _ times: TimeOffsets
  ) -> Range<Int64> {
    let end: Int64 =
      switch to {
      case .earliest: watermarks.low
      case .latest: watermarks.high
      case .offset(let offset): min(offset, watermarks.high)
      case .time: times.to ?? watermarks.high
      }
    let start: Int64 =
      switch from {
      case .earliest: watermarks.low
      case .latest: watermarks.high
      case .offset(let offset): offset
      case .time: times.from ?? watermarks.high
      }
    return min(start, end)..<end
  }

  private static func first(
    _ consumer: Consumer, _ partition: TopicPartition, _ timestampMs: Int64?
  ) throws(KafkaError) -> Int64? {
    guard let timestampMs else { return nil }
    return try consumer.offsets(ofTime: timestampMs, in: [partition], timeoutMs: timeoutMs).first?.offset
  }

  private static func all(
    _ consumer: Consumer, _ topics: [String], _ partitions: [Int32]?
  ) throws -> [TopicPartition] {
    try topics.flatMap { topic in
      let count: Int32
      do throws(KafkaError) {
        count = try consumer.partitionCount(ofTopic: topic, timeoutMs: timeoutMs)
      } catch {
        if error.isUnknownTopicOrPartition { throw ReplayPlanError.unknownTopic(topic) }
        throw error
      }
      for partition in partitions ?? [] where partition >= count {
        throw ReplayPlanError.unknownPartition(partition, topic: topic, count: count)
      }
      return (partitions ?? Array(0..<count)).map { TopicPartition(topic: topic, partition: $0) }
    }
  }
}
