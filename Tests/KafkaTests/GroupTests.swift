import Kafka
import Testing

@Suite("Consumer groups")
struct GroupTests {
  /// Short, so that a member that stops its heartbeats is soon found out, and because the mock cluster lets
  /// each rebalance take this time.
  static let impatient = ["session.timeout.ms": "3000", "heartbeat.interval.ms": "100"]

  private func join(_ cluster: MockCluster, _ properties: [String: String] = [:]) throws -> Member {
    let member = try Member(cluster, properties: properties)
    try member.consumer.subscribe(["events"])
    return member
  }

  private func lost(_ member: Member) -> Bool {
    member.events.contains { if case .revoked(_, lost: true) = $0 { true } else { false } }
  }

  @Test("Two members share the partitions, and one takes over all when the other closes")
  func sharing() throws {
    let cluster = try MockCluster.withTopic(partitions: 4)
    let first = try join(cluster, Self.impatient)
    try first.poll(until: "all partitions") { $0.owned.count == 4 }
    let second = try join(cluster, Self.impatient)
    try pollAll([first, second], until: "halves") { first.owned.count == 2 && second.owned.count == 2 }
    #expect(Set(first.owned).isDisjoint(with: second.owned))
    #expect(!lost(first))

    #expect(first.consumer.close())
    try second.poll(until: "all partitions") { $0.owned == events(0, 1, 2, 3) }
  }

  @Test("Assigning long after the group gave the partitions keeps the membership")
  func assignLate() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    try cluster.produce(0..<3)
    let member = try join(cluster, Self.impatient)
    member.answersRebalances = false
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    try pollFor(sessions: 2, member)
    #expect(try member.consumer.assignment() == [])
    #expect(member.records.isEmpty)
    #expect(member.events.count == 1)

    #expect(try member.consumer.assign(member.owned.fromBeginning))
    try member.poll(until: "records") { $0.records.count == 3 }
    #expect(member.events.count { if case .assigned = $0 { true } else { false } } == 1)
  }

  @Test("A member that has not assigned yet does not hold up another that joins")
  func joinWhileUnassigned() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    try cluster.produce(0..<3, partition: 0)
    try cluster.produce(0..<3, partition: 1)
    let first = try join(cluster, Self.impatient)
    first.answersRebalances = false
    try first.poll(until: "partitions") { $0.owned.count == 2 }
    let stale = first.owned.fromBeginning

    let second = try join(cluster, Self.impatient)
    try pollAll([first, second], until: "revocation") { first.owned.isEmpty }
    #expect(try !first.consumer.assign(stale), "an assignment that is being taken away must be refused")
    // From here on as usual: more rebalances may follow before both hold a half.
    first.answersRebalances = true
    try first.consumer.unassign()
    try pollAll([first, second], until: "halves") { first.owned.count == 1 && second.owned.count == 1 }
    try pollAll([first, second], until: "all records") {
      Set((first.records + second.records).map { [Int64($0.partition), $0.offset] }).count == 6
    }
  }

  @Test("A member that pauses everything but polls stays in the group")
  func pausedMembership() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    try cluster.produce(0..<3)
    let member = try join(cluster, Self.impatient)
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    try member.consumer.pause(member.owned)
    try pollFor(sessions: 2, member)
    let records = member.records.count
    try member.consumer.resume(member.owned)
    try member.poll(until: "records") { $0.records.count == 3 }
    #expect(member.records.offsets == [0, 1, 2])
    #expect(records <= 3)
    #expect(member.events.count { if case .revoked = $0 { true } else { false } } == 0)
  }

  @Test("A membership that the group no longer knows is revoked as lost, and joined anew")
  func lostMembership() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    let member = try join(cluster, Self.impatient)
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    cluster.pushRequestErrors(.heartbeat, [25])  // UNKNOWN_MEMBER_ID
    try member.poll(until: "loss") { lost($0) }
    try member.poll(until: "partitions again") { $0.owned.count == 2 }
  }

  @Test("A membership lost before the partitions were assigned is told too")
  func lostBeforeAssigning() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    let member = try join(cluster, Self.impatient)
    member.answersRebalances = false
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    cluster.pushRequestErrors(.heartbeat, [25])
    try member.poll(until: "loss") { lost($0) }
    try member.consumer.unassign()
    try member.poll(until: "partitions again") { $0.owned.count == 2 }
    #expect(try member.consumer.assign(member.owned.fromBeginning))
  }

  @Test("A fenced member is told that it is of no more use, and closes")
  func fenced() throws {
    let cluster = try MockCluster.withTopic(partitions: 2)
    let member = try join(
      cluster, Self.impatient.merging(["group.instance.id": "me"]) { $1 })
    try member.poll(until: "partitions") { $0.owned.count == 2 }
    cluster.pushRequestErrors(.heartbeat, [82])  // FENCED_INSTANCE_ID
    var fatal: KafkaError?
    try member.poll(until: "the end of it") { member in
      for case .fatal(let error) in member.events { fatal = error }
      return fatal != nil
    }
    #expect(fatal?.name == "FENCED_INSTANCE_ID")
    #expect(fatal?.isFatal == true)
    member.consumer.close()
  }

  @Test("A topic that does not exist is told by poll")
  func unknownTopic() throws {
    let cluster = try MockCluster.withTopic()
    cluster.setTopicError("nowhere", 3)  // UNKNOWN_TOPIC_OR_PART
    let member = try Member(cluster)
    try member.consumer.subscribe(["nowhere"])
    try member.poll(until: "an error") { member in
      member.events.contains {
        if case .error(let error) = $0 { error.isUnknownTopicOrPartition } else { false }
      }
    }
  }

  /// Polls for as long as so many of the members' session timeouts: the promise is about that time passing.
  private func pollFor(sessions: Int, _ members: Member...) throws {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(3 * sessions)
    while clock.now < end {
      for member in members { try member.step() }
    }
  }
}
