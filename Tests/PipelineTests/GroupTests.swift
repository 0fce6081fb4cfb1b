import Kafka
import Monitoring
import Pipeline
import TestSupport
import Testing

@Suite("Several workers", .timeLimit(.minutes(2)))
struct GroupTests {
  @Test("Workers that join and leave share the partitions, and every event is stored once")
  func share() async throws {
    let stage = try Stage(partitions: 4)
    var settings = stage.settings
    settings.batchEvents = 500
    // The mock cluster lets each rebalance take the session timeout less a second.
    settings.properties["session.timeout.ms"] = "3500"
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try stage.produce(5_000, &random, &truth)
    let first = RunningIngest(settings)
    try await eventually("the first has all") { first.assigned == 4 && first.events(.stored) > 0 }
    let second = RunningIngest(settings)
    try await eventually("both have two") {
      // Under load all the while.
      try stage.produce(100, &random, &truth)
      return first.assigned == 2 && second.assigned == 2
    }
    try stage.produce(3_000, &random, &truth)
    try await eventually("the second works") { second.events(.stored) > 0 }
    try await first.stop()
    try await eventually("the second has all") {
      try stage.produce(100, &random, &truth)
      return second.assigned == 4
    }
    try await eventually("everything is stored") {
      try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == truth.count
    }
    try await second.stop()
    #expect(first.rebalances(.lost) == 0 && second.rebalances(.lost) == 0)
    #expect(first.events(.stored) + second.events(.stored) == truth.count)
    #expect(try stage.isDrained(truth.count))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A membership that the group forgot is joined anew, and what was in hand is read again")
  func lostMembership() async throws {
    let stage = try Stage(partitions: 2)
    var settings = stage.settings
    settings.flushMs = 2_000
    settings.properties["session.timeout.ms"] = "3500"
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    try await stage.whileConsuming(settings) { worker in
      try await eventually("it has its partitions") { worker.assigned == 2 }
      try stage.produce(1_000, &random, &truth)
      stage.cluster.pushRequestErrors(.heartbeat, [25])  // UNKNOWN_MEMBER_ID
      try await eventually("it loses them") { worker.rebalances(.lost) == 1 }
      try await stage.drained(1_000)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }
}
