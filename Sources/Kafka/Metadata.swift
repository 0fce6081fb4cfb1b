import CRdKafka

/// Questions that any client can ask the brokers.
extension Client {
  /// The cluster's id, or nil when the brokers are too old to tell (before 0.10.1).
  /// - Throws: a timeout when no broker answered in time.
  func clusterID(timeoutMs: Int32) throws(KafkaError) -> String? {
    guard let text = rd_kafka_clusterid(handle, timeoutMs) else {
      // librdkafka says no more than "none": whether a broker answered at all tells the two cases apart.
      try check(brokersError(timeoutMs: timeoutMs), "learn the cluster's id")
      return nil
    }
    defer { rd_kafka_mem_free(handle, text) }
    return String(cString: text)
  }

  /// How many partitions the topic has.
  /// - Throws: `isUnknownTopicOrPartition` when the cluster has no such topic.
  func partitionCount(ofTopic topic: String, timeoutMs: Int32) throws(KafkaError) -> Int32 {
    let operation = "look up the partitions of topic \"\(topic)\""
    guard let reference = rd_kafka_topic_new(handle, topic, nil) else {
      throw KafkaError(rd_kafka_last_error(), during: operation)
    }
    defer { rd_kafka_topic_destroy(reference) }
    var metadata: UnsafePointer<rd_kafka_metadata>?
    try check(rd_kafka_metadata(handle, 0, reference, &metadata, timeoutMs), operation)
    defer { rd_kafka_metadata_destroy(metadata) }
    guard let found = metadata?.pointee, found.topic_cnt > 0 else {
      throw KafkaError(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, during: operation)
    }
    try check(found.topics[0].err, operation)
    return found.topics[0].partition_cnt
  }

  /// Asks the partition's leader between which offsets it can be read.
  func watermarks(of partition: TopicPartition, timeoutMs: Int32) throws(KafkaError) -> Watermarks {
    var low: Int64 = 0
    var high: Int64 = 0
    try check(
      rd_kafka_query_watermark_offsets(
        handle, partition.topic, partition.partition, &low, &high, timeoutMs),
      "fetch the watermarks of \(partition)")
    return Watermarks(low: low, high: high)
  }

  /// The ends of all these partitions, by one request to each of their leaders.
  func ends(of partitions: [TopicPartition], timeoutMs: Int32) throws(KafkaError) -> [PartitionOffset] {
    try offsets(at: PartitionOffset.end, in: partitions, timeoutMs: timeoutMs, during: "fetch the ends")
  }

  /// What the last fetch response said, without asking: nil until there was one.
  func cachedWatermarks(of partition: TopicPartition) -> Watermarks? {
    var low: Int64 = 0
    var high: Int64 = 0
    let code = rd_kafka_get_watermark_offsets(
      handle, partition.topic, partition.partition, &low, &high)
    guard code == RD_KAFKA_RESP_ERR_NO_ERROR, low >= 0, high >= 0 else { return nil }
    return Watermarks(low: low, high: high)
  }

  /// For each partition the first offset whose record is stamped at or after `timestampMs` (Unix epoch).
  /// A partition without such a record is left out.
  func offsets(
    ofTime timestampMs: Int64, in partitions: [TopicPartition], timeoutMs: Int32
  ) throws(KafkaError) -> [PartitionOffset] {
    try offsets(
      at: timestampMs, in: partitions, timeoutMs: timeoutMs,
      during: "find the offsets of time \(timestampMs) ms")
  }

  /// `place` is a time, or one of the two that Kafka has for the ends of a partition.
  private func offsets(
    at place: Int64, in partitions: [TopicPartition], timeoutMs: Int32, during operation: String
  ) throws(KafkaError) -> [PartitionOffset] {
    let list = PartitionList(partitions.map { PartitionOffset($0, offset: place) })
    try check(list.withPointer { rd_kafka_offsets_for_times(handle, $0, timeoutMs) }, operation)
    if let error = list.firstError(during: operation) { throw error }
    return list.knownOffsets
  }

  private func brokersError(timeoutMs: Int32) -> rd_kafka_resp_err_t {
    var metadata: UnsafePointer<rd_kafka_metadata>?
    let code = rd_kafka_metadata(handle, 0, nil, &metadata, timeoutMs)
    if let metadata { rd_kafka_metadata_destroy(metadata) }
    return code
  }
}
