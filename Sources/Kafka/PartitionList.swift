import CRdKafka

/// Owns one of librdkafka's partition lists: every call that speaks of several partitions takes or returns one.
struct PartitionList: ~Copyable {
  typealias Pointer = UnsafeMutablePointer<rd_kafka_topic_partition_list_t>
  private let pointer: Pointer

  init() {
    pointer = rd_kafka_topic_partition_list_new(0)
  }

  init(_ partitions: [TopicPartition]) {
    pointer = rd_kafka_topic_partition_list_new(Int32(partitions.count))
    for partition in partitions {
      rd_kafka_topic_partition_list_add(pointer, partition.topic, partition.partition)
    }
  }

  init(_ positions: [PartitionOffset]) {
    pointer = rd_kafka_topic_partition_list_new(Int32(positions.count))
    for position in positions {
      let entry = rd_kafka_topic_partition_list_add(
        pointer, position.partition.topic, position.partition.partition)
      entry?.pointee.offset = position.offset
    }
  }

  /// Takes over a list that librdkafka made for us.
  init(taking pointer: Pointer) {
    self.pointer = pointer
  }

  deinit { rd_kafka_topic_partition_list_destroy(pointer) }

  /// The pointer is only lent, because the list may be destroyed right after its last mention.
  borrowing func withPointer<Result>(_ body: (Pointer) -> Result) -> Result {
    body(pointer)
  }

  var partitions: [TopicPartition] { Self.partitions(of: pointer) }

  /// The entries that carry a real offset; those the broker knows nothing of are left out.
  var knownOffsets: [PartitionOffset] {
    Self.entries(of: pointer).compactMap { entry in
      entry.offset < 0 ? nil : PartitionOffset(TopicPartition(entry), offset: entry.offset)
    }
  }

  /// The first partition that librdkafka marked with an error of its own.
  func firstError(during operation: String) -> KafkaError? {
    Self.entries(of: pointer).first { $0.err != RD_KAFKA_RESP_ERR_NO_ERROR }.map { entry in
      KafkaError(entry.err, during: "\(operation) of \(TopicPartition(entry))")
    }
  }

  static func partitions(
    of list: Pointer?
  ) -> [TopicPartition] {
    list.map { entries(of: $0).map { TopicPartition($0) } } ?? []
  }

  private static func entries(
    of list: Pointer
  ) -> UnsafeMutableBufferPointer<rd_kafka_topic_partition_t> {
    UnsafeMutableBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt))
  }
}

extension TopicPartition {
  init(_ entry: rd_kafka_topic_partition_t) {
    self.init(topic: String(cString: entry.topic), partition: entry.partition)
  }
}
