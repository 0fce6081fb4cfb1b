import Kafka
import Testing

@Suite("Cluster metadata")
struct MetadataTests {
  @Test("A topic's partitions are counted, and a missing topic is named")
  func partitionCount() throws {
    let cluster = try MockCluster.withTopic(partitions: 7)
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    #expect(try consumer.partitionCount(ofTopic: "events", timeoutMs: 30_000) == 7)
    cluster.setTopicError("nowhere", 3)  // UNKNOWN_TOPIC_OR_PART
    let error = try #require(throws: KafkaError.self) {
      try consumer.partitionCount(ofTopic: "nowhere", timeoutMs: 30_000)
    }
    #expect(error.isUnknownTopicOrPartition)
    #expect(error.operation.contains("\"nowhere\""))
  }

  @Test("Clients of one cluster see one id, clients of another see another")
  func clusterID() throws {
    let cluster = try MockCluster(brokers: 1)
    let other = try MockCluster(brokers: 1)
    let ids = try [cluster, cluster, other].map { cluster in
      try Consumer(brokers: cluster.bootstrapServers, group: "group").clusterID(timeoutMs: 30_000)
    }
    #expect(ids.allSatisfy { $0 != nil })
    #expect(ids[0] == ids[1])
    #expect(ids[0] != ids[2])
  }

  @Test("Brokers that do not offer to describe groups, as the mock ones, are told from an empty group")
  func members() throws {
    let cluster = try MockCluster(brokers: 1)
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    #expect(try consumer.members(ofGroup: "group", timeoutMs: 30_000) == nil)
    let lost = try Consumer(brokers: "127.0.0.1:1", group: "group")
    #expect(throws: KafkaError.self) { try lost.members(ofGroup: "group", timeoutMs: 300) }
  }

  @Test("A broker that does not answer is an error that may pass, not an unknown id")
  func unreachable() throws {
    let consumer = try Consumer(brokers: "127.0.0.1:1", group: "group")
    let error = try #require(throws: KafkaError.self) { try consumer.clusterID(timeoutMs: 300) }
    #expect(error.isRetriable)
    #expect(!error.isFatal)
  }

  @Test("Unreachable brokers are told by poll")
  func unreachableWhilePolling() throws {
    let consumer = try Consumer(brokers: "127.0.0.1:1", group: "group")
    var errors: [KafkaError] = []
    while !errors.contains(where: { $0.name == "_ALL_BROKERS_DOWN" }) {
      if case .error(let error) = consumer.poll(timeoutMs: 60_000, onRecord: { _ in }) {
        errors.append(error)
      }
    }
    #expect(errors.allSatisfy { $0.isRetriable })
  }

  @Test("Statistics come as JSON when they are asked for")
  func statistics() throws {
    let cluster = try MockCluster.withTopic()
    let reader = try Member(cluster, properties: ["statistics.interval.ms": "100"])
    var json = ""
    try reader.poll(until: "statistics") { reader in
      for case .statistics(let text) in reader.events { json = text }
      return !json.isEmpty
    }
    #expect(json.hasPrefix("{") && json.contains("\"brokers\""))
  }
}
