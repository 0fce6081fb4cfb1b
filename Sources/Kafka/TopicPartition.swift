/// One partition of one topic.
public struct TopicPartition: Hashable, Sendable {
  public let topic: String
  /// 0 and up.
  public let partition: Int32

  public init(topic: String, partition: Int32) {
    self.topic = topic
    self.partition = partition
  }
}

extension TopicPartition: Comparable, CustomStringConvertible {
  /// By topic, then by partition.
  public static func < (left: Self, right: Self) -> Bool {
    (left.topic, left.partition) < (right.topic, right.partition)
  }

  /// As librdkafka writes it: `chat-telemetry [3]`.
  public var description: String { "\(topic) [\(partition)]" }
}

/// A place in a partition's log: the offset of the next record to read.
public struct PartitionOffset: Hashable, Sendable {
  public let partition: TopicPartition
  /// 0 and up, or one of `beginning` and `end` where a call allows them.
  public let offset: Int64

  public init(_ partition: TopicPartition, offset: Int64) {
    self.partition = partition
    self.offset = offset
  }

  /// In place of an offset: the first record the broker still keeps.
  public static let beginning: Int64 = -2
  /// In place of an offset: what is produced from now on.
  public static let end: Int64 = -1
}

extension PartitionOffset: CustomStringConvertible {
  public var description: String {
    switch offset {
    case Self.beginning: "\(partition) @ beginning"
    case Self.end: "\(partition) @ end"
    default: "\(partition) @ \(offset)"
    }
  }
}

/// The offsets between which a partition can be read.
public struct Watermarks: Hashable, Sendable {
  /// The first offset the broker still keeps.
  public let low: Int64
  /// The offset after the last record. A query by a read-committed consumer gives the last stable offset.
  public let high: Int64

  public init(low: Int64, high: Int64) {
    self.low = low
    self.high = high
  }
}
