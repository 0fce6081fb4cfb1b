import Kafka
import Testing

@Suite("Records")
struct RecordTests {
  private func roundTrip(_ send: (Producer) throws -> Void, count: Int) throws -> [ReadRecord] {
    let cluster = try MockCluster.withTopic()
    let producer = try Producer(brokers: cluster.bootstrapServers)
    try send(producer)
    try producer.flush(timeoutMs: 30_000)
    let reader = try Member(cluster)
    try reader.consumer.assign(events(0).fromBeginning)
    try reader.poll(until: "\(count) records") { $0.records.count == count }
    return reader.records
  }

  @Test("A record arrives with its key, value, timestamp and headers")
  func everything() throws {
    let headers = [
      Header("trace", value: Array("abc".utf8)), Header("trace", value: [0, 255]), Header("none", value: nil),
      Header("empty", value: []),
    ]
    let records = try roundTrip(
      { producer in
        try producer.produce(
          topic: "events", partition: 0, key: Array("k".utf8), value: Array("v".utf8), headers: headers,
          timestampMs: 1_700_000_000_123)
      }, count: 1)
    let record = try #require(records.first)
    #expect(record.topic == "events")
    #expect(record.partition == 0)
    #expect(record.offset == 0)
    #expect(record.key == [107])
    #expect(record.value == [118])
    #expect(record.timestampMs == 1_700_000_000_123)
    #expect(record.headers == headers)
  }

  @Test("A null key or value stays apart from an empty one")
  func nullAndEmpty() throws {
    let records = try roundTrip(
      { producer in
        try producer.produce(topic: "events", partition: 0, key: nil, value: nil as [UInt8]?)
        try producer.produce(topic: "events", partition: 0, key: [], value: [])
        let nowhere = UnsafeRawBufferPointer(start: nil, count: 0)
        try producer.produce(topic: "events", partition: 0, key: nowhere, value: nowhere)
      }, count: 3)
    #expect(records.map(\.key) == [nil, [], []])
    #expect(records.map(\.value) == [nil, [], []])
    #expect(records.map(\.headers) == [[], [], []])
  }

  @Test("Each topic keeps its number and name, whichever record comes next")
  func topicIDs() throws {
    let cluster = try MockCluster.withTopic()
    try cluster.createTopic("other", partitions: 1)
    let producer = try Producer(brokers: cluster.bootstrapServers)
    for topic in ["events", "other", "events", "other"] {
      try producer.produce(topic: topic, partition: 0, key: nil, value: Array(topic.utf8))
    }
    try producer.flush(timeoutMs: 30_000)
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    var numbers: [String: Set<Int>] = [:]
    for _ in 0..<2 {
      var count = 0
      try consumer.assign(
        [TopicPartition(topic: "events", partition: 0), TopicPartition(topic: "other", partition: 0)]
          .fromBeginning)
      while count < 4 {
        _ = consumer.poll(timeoutMs: 100) { record in
          #expect(record.value.map { String(decoding: $0, as: UTF8.self) } == record.topic)
          numbers[record.topic, default: []].insert(record.topicID)
          count += 1
        }
      }
    }
    #expect(numbers.count == 2)
    #expect(numbers.values.allSatisfy { $0.count == 1 })
    #expect(Set(numbers.values.flatMap { $0 }) == [0, 1])
  }
}
