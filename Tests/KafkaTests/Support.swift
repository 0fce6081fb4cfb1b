import Kafka

/// A record copied out of the consumer's buffer.
struct ReadRecord: Equatable {
  var topic: String
  var partition: Int32
  var offset: Int64
  var timestampMs: Int64
  var key: [UInt8]?
  var value: [UInt8]?
  var headers: [Header]

  init(_ record: borrowing Record) {
    topic = record.topic
    partition = record.partition
    offset = record.offset
    timestampMs = record.timestampMs
    key = record.key.map { Array($0) }
    value = record.value.map { Array($0) }
    headers = record.headers()
  }
}

/// A condition did not come true in the time allowed.
struct NeverHappened: Error {
  let what: String
  let seen: [PollResult]
}

/// A consumer that is polled step by step, and remembers what it saw.
final class Member {
  let consumer: Consumer
  private(set) var records: [ReadRecord] = []
  /// Everything but records and timeouts.
  private(set) var events: [PollResult] = []
  private(set) var owned: [TopicPartition] = []
  /// Whether `.assigned` is answered with the beginning of each partition, and `.revoked` with unassign.
  var answersRebalances = true

  init(_ cluster: MockCluster, group: String = "group", properties: [String: String] = [:]) throws {
    consumer = try Consumer(
      brokers: cluster.bootstrapServers, group: group, properties: KafkaProperties(properties))
  }

  func step(timeoutMs: Int32 = 20) throws {
    let result = consumer.poll(timeoutMs: timeoutMs) { records.append(ReadRecord($0)) }
    guard result != .record, result != .timeout else { return }
    events.append(result)
    switch result {
    case .assigned(let partitions):
      owned = partitions
      if answersRebalances { try consumer.assign(partitions.fromBeginning) }
    case .revoked:
      owned = []
      if answersRebalances { try consumer.unassign() }
    default: break
    }
  }

  /// Polls until the condition holds.
  func poll(until what: String, _ condition: (Member) throws -> Bool) throws {
    try pollAll([self], until: what) { try condition(self) }
  }

  var ends: [TopicPartition: Int64] {
    events.reduce(into: [:]) { ends, event in
      if case .endOfPartition(let partition, let offset) = event { ends[partition] = offset }
    }
  }
}

/// Polls all members in turn until the condition holds.
func pollAll(_ members: [Member], until what: String, _ condition: () throws -> Bool) throws {
  let clock = ContinuousClock()
  let deadline = clock.now + .seconds(60)
  while try !condition() {
    guard clock.now < deadline else { throw NeverHappened(what: what, seen: members.flatMap(\.events)) }
    for member in members { try member.step() }
  }
}

extension [TopicPartition] {
  var fromBeginning: [PartitionOffset] { map { PartitionOffset($0, offset: PartitionOffset.beginning) } }
}

extension MockCluster {
  /// A cluster of one broker with one topic named "events".
  static func withTopic(partitions: Int = 1, brokers: Int = 1) throws -> MockCluster {
    let cluster = try MockCluster(brokers: brokers)
    try cluster.createTopic("events", partitions: partitions, replication: brokers)
    return cluster
  }

  /// Produces values "<first>", "<first + 1>"... to a partition of "events", each in a batch of its own.
  func produce(_ values: Range<Int>, partition: Int32 = 0) throws {
    let producer = try Producer(
      brokers: bootstrapServers, properties: KafkaProperties(["linger.ms": "0"]))
    for value in values {
      try producer.produce(topic: "events", partition: partition, key: nil, value: Array("\(value)".utf8))
    }
    try producer.flush(timeoutMs: 30_000)
  }
}

/// Partitions of "events".
func events(_ partitions: Int32...) -> [TopicPartition] {
  partitions.map { TopicPartition(topic: "events", partition: $0) }
}

extension [ReadRecord] {
  var texts: [String] { map { String(decoding: $0.value ?? [], as: UTF8.self) } }
  var offsets: [Int64] { map(\.offset) }
}
