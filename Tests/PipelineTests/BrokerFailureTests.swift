import Kafka
import Monitoring
import Pipeline
import TestSupport
import Testing

@Suite("Brokers that fail", .timeLimit(.minutes(2)))
struct BrokerFailureTests {
  /// Codes of Kafka's protocol: 6 NOT_LEADER_OR_FOLLOWER, 14 COORDINATOR_LOAD_IN_PROGRESS,
  /// 15 COORDINATOR_NOT_AVAILABLE, 16 NOT_COORDINATOR, 27 REBALANCE_IN_PROGRESS, 56 KAFKA_STORAGE_ERROR,
  /// 29 TOPIC_AUTHORIZATION_FAILED.
  @Test("Refused requests of every kind cost time, and neither an event nor a repeat")
  func requestErrors() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try stage.produce(2_000, &random, &truth)
    stage.cluster.pushRequestErrors(.findCoordinator, [15, 14])
    stage.cluster.pushRequestErrors(.joinGroup, [16, 15])
    stage.cluster.pushRequestErrors(.listOffsets, [29, 56])
    stage.cluster.pushRequestErrors(.fetch, [6, 56, 0, 6])
    try await stage.whileConsuming { worker in
      try await eventually("some are stored") { worker.events(.stored) > 0 }
      stage.cluster.pushRequestErrors(.fetch, [0, 6, 0, 56, 56])
      stage.cluster.pushRequestErrors(.offsetCommit, [15, 29])
      stage.cluster.pushRequestErrors(.heartbeat, [15, 16])
      try stage.produce(2_000, &random, &truth)
      try await stage.drained(4_000)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A broker that goes down and comes back is read on where reading stopped")
  func brokerDown() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    try await stage.whileConsuming { worker in
      for _ in 1...3 {
        try stage.produce(1_000, &random, &truth)
        try await stage.drained(truth.count)
        try stage.cluster.setBrokerDown(1)
        for _ in 0..<500 {
          let event = TestEvent.random(&random, nowMs: stage.nowMs)
          truth.add(event)
          try stage.produce(event.json)
        }
        try stage.cluster.setBrokerUp(1)
        try stage.flush()
        try await stage.drained(truth.count)
      }
      #expect(worker.events(.deadLetter) == 0)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }
}
