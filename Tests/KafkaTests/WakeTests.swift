import Kafka
import Testing

@Suite("Waking a poll", .timeLimit(.minutes(1)))
struct WakeTests {
  /// Longer than the suite's time limit: only a wake-up can end the poll in time.
  private static let foreverMs: Int32 = 600_000

  private func pollForever(_ consumer: Consumer) -> PollResult {
    consumer.poll(timeoutMs: Self.foreverMs) { _ in }
  }

  @Test("A poll returns when another thread wakes it")
  func wakeWhilePolling() async throws {
    let cluster = try MockCluster.withTopic()
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    let waker = consumer.waker
    let other = Task.detached {
      for _ in 0..<100 { await Task.yield() }
      waker.wake()
    }
    #expect(pollForever(consumer) == .timeout)
    await other.value
  }

  @Test("A wake-up before the poll is not lost, and ends one poll only")
  func wakeBefore() throws {
    let cluster = try MockCluster.withTopic()
    try cluster.produce(0..<1)
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    consumer.waker.wake()
    consumer.waker.wake()
    #expect(pollForever(consumer) == .timeout)
    try consumer.assign(events(0).fromBeginning)
    #expect(pollForever(consumer) == .record)
  }

  @Test("A rebalance ends the poll that waits")
  func rebalanceEndsPoll() throws {
    let cluster = try MockCluster.withTopic()
    let consumer = try Consumer(brokers: cluster.bootstrapServers, group: "group")
    try consumer.subscribe(["events"])
    #expect(pollForever(consumer) == .assigned(events(0)))
  }
}
