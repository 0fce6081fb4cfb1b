import Kafka
import Testing

@Suite("Positions")
struct PositionTests {
  let cluster: MockCluster
  let reader: Member
  let partition = TopicPartition(topic: "events", partition: 0)

  init() throws {
    cluster = try MockCluster.withTopic()
    reader = try Member(cluster)
    try cluster.produce(0..<10)
  }

  private func assign(at offset: Int64) throws {
    try reader.consumer.assign([PartitionOffset(partition, offset: offset)])
  }

  @Test("Reading starts at the assigned offset and tells where the partition ends")
  func endOfPartition() throws {
    try assign(at: 7)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.records.offsets == [7, 8, 9])
    #expect(try reader.consumer.positions(of: [partition]) == [PartitionOffset(partition, offset: 10)])
  }

  @Test("The end of a partition comes again after more records")
  func endAgain() throws {
    try assign(at: 0)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    try cluster.produce(10..<12)
    try reader.poll(until: "the end again") { $0.ends[partition] == 12 }
    #expect(reader.records.texts == (0..<12).map { "\($0)" })
  }

  @Test("An empty partition's end is told too")
  func emptyPartition() throws {
    try assign(at: 10)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.records.isEmpty)
  }

  @Test("An offset the broker does not hold surfaces with that offset, and a seek goes on from there")
  func outOfRange() throws {
    try assign(at: 5_000)
    try reader.poll(until: "out of range") { !$0.events.isEmpty }
    #expect(reader.events == [.offsetOutOfRange(partition, offset: 5_000)])
    try reader.consumer.seek([PartitionOffset(partition, offset: 8)])
    try reader.poll(until: "the last two") { $0.records.count == 2 }
    #expect(reader.records.offsets == [8, 9])
  }

  @Test("Setting a partition going again neither loses nor repeats records of the others")
  func outOfRangeBesideOthers() throws {
    let cluster = try MockCluster.withTopic(partitions: 3)
    for partition in 0..<3 { try cluster.produce(0..<50, partition: Int32(partition)) }
    let reader = try Member(cluster)
    let (bad, good, paused) = (events(0)[0], events(1)[0], events(2)[0])
    try reader.consumer.assign([
      PartitionOffset(bad, offset: 5_000), PartitionOffset(good, offset: 3),
      PartitionOffset(paused, offset: 4),
    ])
    try reader.consumer.pause([paused])
    try reader.poll(until: "out of range and some records") { reader in
      reader.events.contains(.offsetOutOfRange(bad, offset: 5_000)) && reader.records.count >= 5
    }
    try reader.consumer.seek([PartitionOffset(bad, offset: 48)])
    try reader.poll(until: "both ends") { $0.ends[bad] == 50 && $0.ends[good] == 50 }
    #expect(!reader.records.contains { $0.partition == paused.partition })
    try reader.consumer.resume([paused])
    try reader.poll(until: "the third end") { $0.ends[paused] == 50 }
    let offsets = Dictionary(grouping: reader.records, by: \.partition).mapValues(\.offsets)
    #expect(offsets == [0: [48, 49], 1: Array(3..<50), 2: Array(4..<50)])
  }

  @Test("No record from before a seek is delivered after it")
  func seek() throws {
    try assign(at: 0)
    try reader.poll(until: "some records") { $0.records.count == 4 }
    try reader.consumer.seek([PartitionOffset(partition, offset: 2)])
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.records.offsets == [0, 1, 2, 3, 2, 3, 4, 5, 6, 7, 8, 9])
  }

  @Test("A seek while paused takes effect on resume")
  func seekWhilePaused() throws {
    try assign(at: 0)
    try reader.poll(until: "some records") { $0.records.count == 2 }
    try reader.consumer.pause([partition])
    try reader.consumer.seek([PartitionOffset(partition, offset: 9)])
    try reader.consumer.resume([partition])
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.records.offsets == [0, 1, 9])
  }

  @Test("A paused partition loses nothing and repeats nothing")
  func pauseAndResume() throws {
    try assign(at: 0)
    try reader.poll(until: "some records") { $0.records.count == 3 }
    try reader.consumer.pause([partition])
    for _ in 0..<20 { try reader.step() }
    #expect(reader.records.count == 3)
    try reader.consumer.resume([partition])
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.records.offsets == Array(0..<10))
  }

  @Test("A partition that was paused when it was taken away is fetched when it comes back")
  func pauseEndsWithAssignment() throws {
    try assign(at: 7)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    try reader.consumer.pause([partition])
    try reader.consumer.unassign()
    try assign(at: 0)
    try reader.poll(until: "all records") { $0.records.count == 13 }
  }

  @Test("Committed offsets are seen by another client; uncommitted partitions are left out")
  func commit() throws {
    try cluster.createTopic("other", partitions: 1)
    let other = TopicPartition(topic: "other", partition: 0)
    try assign(at: 0)
    try reader.consumer.commitAsync([PartitionOffset(partition, offset: 6)])
    let observer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    try reader.poll(until: "the commit") { _ in
      try observer.committedOffsets(of: [partition, other], timeoutMs: 30_000)
        == [PartitionOffset(partition, offset: 6)]
    }
    #expect(!reader.events.contains { if case .commitFailed = $0 { true } else { false } })
  }

  @Test("A refused commit is reported by poll with its partitions")
  func commitFailed() throws {
    try assign(at: 0)
    cluster.pushRequestErrors(.offsetCommit, [25])  // UNKNOWN_MEMBER_ID
    try reader.consumer.commitAsync([PartitionOffset(partition, offset: 6)])
    var failure: ([TopicPartition], KafkaError)?
    try reader.poll(until: "the refusal") { reader in
      for case .commitFailed(let partitions, let error) in reader.events { failure = (partitions, error) }
      return failure != nil
    }
    #expect(failure?.0 == [partition])
    #expect(failure?.1.name == "UNKNOWN_MEMBER_ID")
  }

  @Test("Watermarks are asked of the broker, and cached ones follow the fetches")
  func watermarks() throws {
    #expect(try reader.consumer.watermarks(of: partition, timeoutMs: 30_000) == Watermarks(low: 0, high: 10))
    try assign(at: 0)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(reader.consumer.cachedWatermarks(of: partition)?.high == 10)
    #expect(reader.consumer.cachedWatermarks(of: TopicPartition(topic: "events", partition: 7)) == nil)
  }

  @Test("The ends of several partitions are asked for at once: of all, or an error")
  func ends() throws {
    try cluster.createTopic("others", partitions: 1)
    let other = TopicPartition(topic: "others", partition: 0)
    let ends = try reader.consumer.ends(of: [other, partition], timeoutMs: 30_000)
    #expect(Set(ends) == [PartitionOffset(partition, offset: 10), PartitionOffset(other, offset: 0)])
    #expect(throws: KafkaError.self) {
      try reader.consumer.ends(
        of: [partition, TopicPartition(topic: "events", partition: 99)], timeoutMs: 2_000)
    }
  }

  @Test("A failed question says what was asked of which partition")
  func watermarksOfNothing() throws {
    let error = try #require(throws: KafkaError.self) {
      try reader.consumer.watermarks(
        of: TopicPartition(topic: "events", partition: 99), timeoutMs: 2_000)
    }
    #expect(error.operation == "fetch the watermarks of events [99]")
    #expect("\(error)".hasPrefix("could not fetch the watermarks of events [99]: "))
  }

  @Test("Reading partitions without a subscription needs no group")
  func standalone() throws {
    cluster.pushRequestErrors(.joinGroup, Array(repeating: 30, count: 100))  // GROUP_AUTHORIZATION_FAILED
    try assign(at: 0)
    try reader.poll(until: "the end") { $0.ends[partition] == 10 }
    #expect(try reader.consumer.assignment() == [partition])
    #expect(reader.consumer.close())
    #expect(reader.events == [.endOfPartition(partition, offset: 10)])
  }
}
