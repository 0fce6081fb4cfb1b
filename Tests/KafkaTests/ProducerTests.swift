import Kafka
import Testing

@Suite("Producing")
struct ProducerTests {
  @Test("More records than the queue holds are all delivered, in order")
  func fullQueue() throws {
    let cluster = try MockCluster.withTopic()
    let producer = try Producer(
      brokers: cluster.bootstrapServers,
      properties: KafkaProperties(["queue.buffering.max.messages": "10", "linger.ms": "0"]))
    for value in 0..<500 {
      try producer.produce(topic: "events", partition: 0, key: nil, value: Array("\(value)".utf8))
    }
    try producer.flush(timeoutMs: 30_000)
    #expect(producer.counts == DeliveryCounts(delivered: 500))
    let reader = try Member(cluster)
    try reader.consumer.assign(events(0).fromBeginning)
    try reader.poll(until: "all records") { $0.records.count == 500 }
    #expect(reader.records.texts == (0..<500).map { "\($0)" })
  }

  @Test("A record that could not be delivered is counted, with the first reason")
  func failedDelivery() throws {
    let cluster = try MockCluster.withTopic()
    cluster.pushRequestErrors(.produce, [87])  // INVALID_RECORD
    let producer = try Producer(brokers: cluster.bootstrapServers)
    try producer.produce(topic: "events", partition: 0, key: nil, value: [1])
    try producer.flush(timeoutMs: 30_000)
    try producer.produce(topic: "events", partition: 0, key: nil, value: [2])
    try producer.flush(timeoutMs: 30_000)
    #expect(producer.counts.delivered == 1)
    #expect(producer.counts.failed == 1)
    #expect(producer.counts.firstError?.name == "INVALID_RECORD")
    #expect(producer.counts.firstError?.operation.contains("\"events\"") == true)
  }

  @Test("A flush that cannot finish says how many records are left")
  func flushTimeout() throws {
    let producer = try Producer(brokers: "127.0.0.1:1")
    try producer.produce(topic: "events", key: nil, value: [1])
    let error = try #require(throws: KafkaError.self) { try producer.flush(timeoutMs: 200) }
    #expect(error.isTimeout)
    #expect(error.operation.contains("1 record"))
  }

  @Test("A record that is too large is refused at once")
  func tooLarge() throws {
    let producer = try Producer(
      brokers: "127.0.0.1:1", properties: KafkaProperties(["message.max.bytes": "1000"]))
    let error = try #require(throws: KafkaError.self) {
      try producer.produce(topic: "events", key: nil, value: Array(repeating: 0, count: 5_000))
    }
    #expect(error.name == "MSG_SIZE_TOO_LARGE")
    #expect(!error.isRetriable)
  }

  @Test("An idempotent producer delivers across a lost acknowledgement without repeating")
  func idempotent() throws {
    let cluster = try MockCluster.withTopic()
    let producer = try Producer(
      brokers: cluster.bootstrapServers, properties: KafkaProperties(["enable.idempotence": "true"]))
    cluster.pushRequestErrors(.produce, [7])  // REQUEST_TIMED_OUT
    for value in 0..<20 {
      try producer.produce(topic: "events", partition: 0, key: nil, value: Array("\(value)".utf8))
    }
    try producer.flush(timeoutMs: 30_000)
    #expect(producer.counts == DeliveryCounts(delivered: 20))
    #expect(
      try Consumer(brokers: cluster.bootstrapServers, group: "group")
        .watermarks(of: events(0)[0], timeoutMs: 30_000).high == 20)
  }

  @Test("Records of one key go to one partition")
  func keyed() throws {
    let cluster = try MockCluster.withTopic(partitions: 4)
    let producer = try Producer(brokers: cluster.bootstrapServers)
    for value in 0..<40 {
      try producer.produce(topic: "events", key: Array("key \(value % 8)".utf8), value: [UInt8(value)])
    }
    try producer.flush(timeoutMs: 30_000)
    let reader = try Member(cluster)
    try reader.consumer.assign(events(0, 1, 2, 3).fromBeginning)
    try reader.poll(until: "all records") { $0.records.count == 40 }
    let places = Dictionary(grouping: reader.records, by: \.key).mapValues { Set($0.map(\.partition)) }
    #expect(places.count == 8)
    #expect(places.values.allSatisfy { $0.count == 1 })
  }
}
