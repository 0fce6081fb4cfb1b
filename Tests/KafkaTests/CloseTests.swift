import Kafka
import Synchronization
import TestSupport
import Testing

@Suite("Closing a consumer")
struct CloseTests {
  let cluster: MockCluster
  let member: Member
  /// How many members the broker saw leave.
  let leaves = Counter()

  init() throws {
    let leaves = leaves
    cluster = try MockCluster(brokers: 1) { _, _, text in
      if text.contains("is leaving group") { leaves.increment() }
    }
    try cluster.createTopic("events", partitions: 2)
    member = try Member(cluster, properties: GroupTests.impatient)
  }

  final class Counter: Sendable {
    private let count = Mutex(0)
    var value: Int { count.withLock { $0 } }
    func increment() { count.withLock { $0 += 1 } }
  }

  @Test("A consumer leaves its group, so that nobody waits for its session to time out")
  func leavesGroup() throws {
    try member.consumer.subscribe(["events"])
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    #expect(leaves.value == 0)
    #expect(member.consumer.close())
    #expect(leaves.value == 1)
  }

  @Test("A consumer that has just let its partitions go leaves too")
  func rejoining() throws {
    try member.consumer.subscribe(["events"])
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    cluster.pushRequestErrors(.heartbeat, [27])  // REBALANCE_IN_PROGRESS
    try member.poll(until: "revocation") { $0.owned.isEmpty }
    for _ in 0..<10 { try member.step() }
    #expect(member.consumer.close())
    #expect(leaves.value == 1)
  }

  @Test("A consumer that never subscribed closes")
  func unused() {
    #expect(member.consumer.close())
  }

  /// A race: without the promise kept, some in a hundred hang on a busy machine, and here some hundreds keep it busy.
  @Test("Consumers that were never given anything close, however many, and however busy the machine is")
  func neverGiven() async throws {
    let brokers = cluster.bootstrapServers
    let closers = (0..<4).map { _ in
      Background {
        for _ in 0..<150 {
          let consumer = try Consumer(brokers: brokers, group: "watchers")
          _ = try consumer.watermarks(of: events(0)[0], timeoutMs: 10_000)
          #expect(consumer.close())
        }
      }
    }
    try await ends("closing", within: .seconds(60)) {
      for closer in closers { try await closer.value }
    }
  }

  @Test("A consumer that has not been assigned anything yet closes")
  func beforeAssignment() throws {
    try member.consumer.subscribe(["events"])
    for _ in 0..<10 { try member.step() }
    #expect(member.owned.isEmpty)
    #expect(member.consumer.close())
  }

  @Test("A consumer whose assignment is unanswered closes")
  func unansweredAssignment() throws {
    member.answersRebalances = false
    try member.consumer.subscribe(["events"])
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    #expect(member.consumer.close())
    #expect(leaves.value == 1)
  }

  @Test("A consumer whose revocation is unanswered closes, and the other takes over")
  func unansweredRevocation() throws {
    try member.consumer.subscribe(["events"])
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    member.answersRebalances = false
    let other = try Member(cluster, properties: GroupTests.impatient)
    try other.consumer.subscribe(["events"])
    try pollAll([member, other], until: "revocation") { member.owned.isEmpty }
    #expect(member.consumer.close())
    #expect(leaves.value == 1)
    try other.poll(until: "all partitions") { $0.owned.count == 2 }
  }

  @Test("A consumer with records waiting closes, and a second close does nothing")
  func withRecordsWaiting() throws {
    try cluster.produce(0..<100)
    try member.consumer.assign(events(0).fromBeginning)
    try member.poll(until: "a record") { $0.records.count >= 1 }
    #expect(member.consumer.close())
    #expect(member.consumer.close())
    member.consumer.waker.wake()
  }

  @Test("A close with the brokers gone ends nevertheless")
  func brokersGone() throws {
    try member.consumer.subscribe(["events"])
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    try cluster.setBrokerDown(1)
    member.consumer.close(timeoutMs: 500)
  }
}
