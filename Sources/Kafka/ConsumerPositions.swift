import CRdKafka

/// Where the consumer stands in its partitions, and moving it.
extension Consumer {
  /// Stops fetching these partitions while polling, and with it the membership, goes on. What was fetched but
  /// not delivered yet is dropped, and fetched again after `resume`.
  public func pause(_ partitions: [TopicPartition]) throws(KafkaError) {
    paused.formUnion(partitions)
    let list = PartitionList(partitions)
    let operation = "pause partitions"
    try check(list.withPointer { rd_kafka_pause_partitions(client.handle, $0) }, operation)
    if let error = list.firstError(during: operation) { throw error }
  }

  /// Goes on fetching paused partitions where they stopped.
  public func resume(_ partitions: [TopicPartition]) throws(KafkaError) {
    guard !partitions.isEmpty else { return }
    paused.subtract(partitions)
    let list = PartitionList(partitions)
    let operation = "resume partitions"
    try check(list.withPointer { rd_kafka_resume_partitions(client.handle, $0) }, operation)
    if let error = list.firstError(during: operation) { throw error }
  }

  /// Moves assigned partitions, paused ones too, to other offsets. When it returns, `poll` delivers nothing
  /// from before. Also sets a partition going again that stands still after `.offsetOutOfRange`.
  public func seek(_ positions: [PartitionOffset], timeoutMs: Int32 = 10_000) throws(KafkaError) {
    guard positions.allSatisfy({ !stopped.contains($0.partition) }) else { return try restart(positions) }
    let list = PartitionList(positions)
    let operation = "seek to \(positions.map(\.description).joined(separator: ", "))"
    if let error = list.withPointer({ rd_kafka_seek_partitions(client.handle, $0, timeoutMs) }) {
      throw KafkaError(taking: error, during: operation)
    }
    if let error = list.firstError(during: operation) { throw error }
    for position in positions { starts[position.partition] = position.offset }
  }

  /// librdkafka seeks no partition that it has given up for its offset. Such a one must be assigned anew, and
  /// with eager rebalancing that means all, each from where it stands.
  private func restart(_ moved: [PartitionOffset]) throws(KafkaError) {
    guard !isRebalancing else { return }
    var next = starts
    for position in try self.positions(of: Array(starts.keys)) { next[position.partition] = position.offset }
    for position in moved { next[position.partition] = position.offset }
    try start(next.map { PartitionOffset($0.key, offset: $0.value) })
  }

  /// Tells the group how far these partitions are done; other tools read it, this consumer never does.
  /// A refusal comes later, from `poll`, as `.commitFailed`.
  public func commitAsync(_ nextOffsets: [PartitionOffset]) throws(KafkaError) {
    guard !nextOffsets.isEmpty else { return }
    let list = PartitionList(nextOffsets)
    try check(list.withPointer { rd_kafka_commit(client.handle, $0, 1) }, "commit offsets")
  }

  /// The offsets after the last records delivered; partitions that delivered none are left out.
  public func positions(of partitions: [TopicPartition]) throws(KafkaError) -> [PartitionOffset] {
    let list = PartitionList(partitions)
    try check(list.withPointer { rd_kafka_position(client.handle, $0) }, "read positions")
    return list.knownOffsets
  }

  /// The offsets the group has committed; partitions without any are left out.
  public func committedOffsets(
    of partitions: [TopicPartition], timeoutMs: Int32
  ) throws(KafkaError) -> [PartitionOffset] {
    let list = PartitionList(partitions)
    let operation = "fetch the committed offsets"
    try check(list.withPointer { rd_kafka_committed(client.handle, $0, timeoutMs) }, operation)
    if let error = list.firstError(during: operation) { throw error }
    return list.knownOffsets
  }
}

/// What the brokers know. Each call waits for at most `timeoutMs`, without polling.
extension Consumer {
  /// The cluster's id, or nil when the brokers are too old to tell (before 0.10.1).
  public func clusterID(timeoutMs: Int32) throws(KafkaError) -> String? {
    try client.clusterID(timeoutMs: timeoutMs)
  }

  /// How many partitions the topic has; `isUnknownTopicOrPartition` when there is no such topic.
  public func partitionCount(ofTopic topic: String, timeoutMs: Int32) throws(KafkaError) -> Int32 {
    try client.partitionCount(ofTopic: topic, timeoutMs: timeoutMs)
  }

  /// Asks the partition's leader between which offsets it can be read.
  public func watermarks(of partition: TopicPartition, timeoutMs: Int32) throws(KafkaError) -> Watermarks {
    try client.watermarks(of: partition, timeoutMs: timeoutMs)
  }

  /// Asks the leaders for the offsets after the last records that can be read; all of them answer, or it throws.
  public func ends(
    of partitions: [TopicPartition], timeoutMs: Int32
  ) throws(KafkaError) -> [PartitionOffset] {
    try client.ends(of: partitions, timeoutMs: timeoutMs)
  }

  /// What the last fetch response said, without asking: nil until there was one.
  public func cachedWatermarks(of partition: TopicPartition) -> Watermarks? {
    client.cachedWatermarks(of: partition)
  }

  /// For each partition the first offset whose record is stamped at or after `timestampMs` (Unix epoch).
  /// A partition without such a record is left out.
  public func offsets(
    ofTime timestampMs: Int64, in partitions: [TopicPartition], timeoutMs: Int32
  ) throws(KafkaError) -> [PartitionOffset] {
    try client.offsets(ofTime: timestampMs, in: partitions, timeoutMs: timeoutMs)
  }
}
