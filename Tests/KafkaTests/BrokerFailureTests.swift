import Kafka
import Testing

@Suite("Broker failures")
struct BrokerFailureTests {
  static let quick = ["reconnect.backoff.ms": "10", "reconnect.backoff.max.ms": "100"]

  @Test("A consumer goes on by itself when the broker comes back")
  func downAndUp() throws {
    let cluster = try MockCluster.withTopic()
    try cluster.produce(0..<3)
    let reader = try Member(cluster, properties: Self.quick)
    try reader.consumer.assign(events(0).fromBeginning)
    try reader.poll(until: "records") { $0.records.count == 3 }
    try cluster.setBrokerDown(1)
    try reader.poll(until: "an error") { reader in
      reader.events.contains { if case .error(let error) = $0 { error.isRetriable } else { false } }
    }
    try cluster.setBrokerUp(1)
    try cluster.produce(3..<6)
    try reader.poll(until: "more records") { $0.records.count == 6 }
    #expect(reader.records.texts == (0..<6).map { "\($0)" })
  }

  @Test("A partition is followed to another leader")
  func leaderMoves() throws {
    let cluster = try MockCluster.withTopic(brokers: 2)
    let partition = events(0)[0]
    try cluster.setLeader(of: partition, toBroker: 1)
    try cluster.produce(0..<3)
    let reader = try Member(cluster, properties: Self.quick)
    try reader.consumer.assign([partition].fromBeginning)
    try reader.poll(until: "records") { $0.records.count == 3 }
    try cluster.setLeader(of: partition, toBroker: 2)
    try cluster.produce(3..<6)
    try reader.poll(until: "more records") { $0.records.count == 6 }
    #expect(reader.records.offsets == Array(0..<6))
  }
}
