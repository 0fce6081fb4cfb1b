import Dispatch
import Kafka
import Testing

@Suite("Waking a poll", .timeLimit(.minutes(5)))
struct WakeTests {
  /// A consumer whose poll would end with statistics if no wake-up ended it before.
  private func makeConsumer(_ cluster: MockCluster) throws -> Consumer {
    try Consumer(
      brokers: cluster.bootstrapServers, group: "group",
      properties: KafkaProperties(["statistics.interval.ms": "30000"]))
  }

  private func pollForever(_ consumer: Consumer) -> PollResult {
    consumer.poll(timeoutMs: 600_000) { _ in }
  }

  @Test("A poll returns when another thread wakes it")
  func wakeWhilePolling() throws {
    let cluster = try MockCluster.withTopic()
    let consumer = try makeConsumer(cluster)
    let waker = consumer.waker
    // Late enough that the poll has begun; were it not, the wake-up must not be lost either.
    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(100)) { waker.wake() }
    #expect(pollForever(consumer) == .timeout)
  }

  @Test("A wake-up before the poll is not lost, and ends one poll only")
  func wakeBefore() throws {
    let cluster = try MockCluster.withTopic()
    try cluster.produce(0..<1)
    let consumer = try makeConsumer(cluster)
    consumer.waker.wake()
    consumer.waker.wake()
    #expect(pollForever(consumer) == .timeout)
    try consumer.assign(events(0).fromBeginning)
    #expect(pollForever(consumer) == .record)
  }

  @Test("A rebalance ends the poll that waits")
  func rebalanceEndsPoll() throws {
    let cluster = try MockCluster.withTopic()
    let consumer = try makeConsumer(cluster)
    try consumer.subscribe(["events"])
    #expect(pollForever(consumer) == .assigned(events(0)))
  }
}
