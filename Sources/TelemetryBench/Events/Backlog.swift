import Kafka

/// Records that wait in a topic.
struct Backlog: Sendable {
  let topic: String
  let partitions: Int
  let records: Int
  /// How many different events they are.
  let events: Int

  /// Records that the broker keeps as one batch: it hands out one batch of each partition at a time, so the worker meets
  /// the events nearly in the order of their time.
  private static let run = 500

  /// Produces all records of a set, and makes sure that the broker has kept them all.
  init(_ events: EventSet, topic: String, partitions: Int, cluster: MockCluster) throws {
    self.topic = topic
    self.partitions = partitions
    records = events.sequence.count
    self.events = events.count
    try cluster.createTopic(topic, partitions: partitions)
    let producer = try Producer(
      brokers: cluster.bootstrapServers,
      properties: KafkaProperties([
        "compression.type": "zstd", "linger.ms": "1000", "batch.num.messages": "\(Self.run)",
        "batch.size": "1000000", "queue.buffering.max.messages": "200000",
      ]))
    // By key, so that a redelivery is in the partition of the first delivery.
    try events.forEachRecord(0..<records) { id, value in
      try producer.produce(topic: topic, partition: nil, key: id, value: value)
    }
    try producer.flush(timeoutMs: 120_000)
    try check(cluster)
  }

  /// The broker keeps 5 MiB a partition and drops what is older.
  private func check(_ cluster: MockCluster) throws {
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "bench-check")
    var kept = 0
    for partition in 0..<Int32(partitions) {
      let marks = try consumer.watermarks(
        of: TopicPartition(topic: topic, partition: partition), timeoutMs: 10_000)
      kept += Int(marks.high - marks.low)
    }
    guard kept == records else {
      throw BenchFailure("the embedded broker kept \(kept) of \(records) records: give it more --partitions")
    }
  }
}
