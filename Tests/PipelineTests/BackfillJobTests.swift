import Glibc
import Kafka
import Postgres
import Store
import TestSupport
import Testing

@Suite("A backfill's job", .timeLimit(.minutes(3)))
struct BackfillJobTests {
  private func stage(_ count: Int, seed: UInt64, _ truth: inout Truth) throws -> Stage {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: seed)
    for partition in Int32(0)...1 { try stage.produce(count / 2, &random, &truth, partition: partition) }
    return stage
  }

  @Test("that is done says so and exits with 0; what is produced later is no part of it")
  func done() async throws {
    var truth = Truth()
    let stage = try stage(200, seed: 1, &truth)
    let first = try await stage.replayed("--job", "once")
    var random = SeededGenerator(seed: 9)
    var later = Truth()
    try stage.produce(10, &random, &later)
    #expect(try await stage.replayed("--job", "once") == first)
    #expect(try await stage.backfill(["--job", "once"]).contains("once is done since"))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test(
    "refuses a range, topic or partition that is not its own, with both values, and takes what is left out")
  func otherRange() async throws {
    var truth = Truth()
    let stage = try stage(200, seed: 2, &truth)
    _ = try await stage.replayed("--job", "mine", "--from", "10", "--to", "50", "--partition", "1")
    let others = [
      (["--from", "11"], "--from is 11, the job has 10"), (["--to", "7d"], "--to is 7d, the job has 50"),
      (["--topic", "other"], "--topic is other, the job has chat-telemetry"),
      (["--partition", "0"], "--partition is 0, the job has 1"),
    ]
    for (arguments, complaint) in others {
      let said = try await stage.backfill(["--job", "mine"] + arguments, exits: 1)
      #expect(said.contains(complaint), "\(said)")
    }
    #expect(try await stage.replayed("--job", "mine", "--to", "50").stored == 40)
  }

  @Test(
    "stopped by SIGTERM keeps its position, exits with 75, says how to go on, and does so without a name too")
  func stopped() async throws {
    var truth = Truth()
    let stage = try stage(2_000, seed: 3, &truth)
    let process = try stage.startBackfill(["--rate", "500", "--json"])
    try await eventually("it has stored something") { try stage.backfilled() > 0 }
    process.send(SIGTERM)
    #expect(try await process.end() == 75)
    let stopped = try Stage.answer(process.errors)
    #expect(stopped.state == "stopped" && stopped.remaining > 0)
    #expect(process.errors.contains("--job \(stopped.job) goes on with it"))
    #expect(try stage.backfilled() == stopped.stored)
    let status = try stage.start(["TELEMETRY_LOG_LEVEL": "error"], arguments: ["status", "--json"])
    #expect(try await status.end() == 0)
    #expect(status.errors.contains("\"remaining\" : \(stopped.remaining)"), "\(status.errors)")
    #expect(!status.errors.contains("backfill:"), "a backfill's distance to its end is no lag")
    let rest = try await stage.replayed()
    #expect(rest.job == stopped.job && rest.stored == 2_000 && rest.duplicate == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("taken up by a second process goes on there; the first one ends, and no record is counted twice")
  func takenOver() async throws {
    var truth = Truth()
    let stage = try stage(3_000, seed: 4, &truth)
    let first = try stage.startBackfill(["--job", "shared", "--rate", "300"])
    try await eventually("the first has stored something") { try stage.backfilled() > 0 }
    let answer = try await stage.replayed("--job", "shared")
    #expect(answer.stored == 3_000 && answer.done == 3_000)
    #expect(try await first.end() == 1)
    #expect(first.errors.contains("another process has taken up the backfill shared"))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("keeps to the rate that was asked for")
  func rate() async throws {
    var truth = Truth()
    let stage = try stage(400, seed: 5, &truth)
    let clock = ContinuousClock()
    let began = clock.now
    #expect(try await stage.replayed("--rate", "200").stored == 400)
    // A lower bound only: a slow machine cannot break it. A tenth of a second's worth may come at once.
    #expect(clock.now - began >= .milliseconds(1_800))
  }

  @Test("shows on the port that was asked for how many records are left")
  func metrics() async throws {
    var truth = Truth()
    let stage = try stage(2_000, seed: 6, &truth)
    let port = try freePort()
    let process = try stage.startBackfill(["--job", "seen", "--rate", "100", "--http-port", "\(port)"])
    let family = "telemetry_worker_backfill_remaining_records{job=\"seen\"}"
    try await eventually("some are done and some are left") {
      guard let page = try? await ask("/metrics", port: port) else { return false }
      let line = page.body.split(separator: "\n").first { $0.hasPrefix(family) }
      let left = line.flatMap { Double($0.dropFirst(family.count + 1)) } ?? 0
      return left > 0 && left < 2_000
    }
    #expect(try await ask("/ready", port: port).status == 200)
    process.send(SIGTERM)
    #expect(try await process.end() == 75)
  }

  @Test("of a topic or partition that is not there fails and names it")
  func unknown() async throws {
    let stage = try Stage(partitions: 2)
    let partition = try await stage.backfill(["--partition", "2"], exits: 1)
    #expect(partition.contains("has no partition 2: it has 2, from 0 to 1"))
    // RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
    stage.cluster.setTopicError("elsewhere", 3)
    let topic = try await stage.backfill(["--topic", "elsewhere"], exits: 1)
    #expect(topic.contains("no topic \"elsewhere\""), "\(topic)")
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_backfill_jobs") == 0)
    let group = try await stage.backfill(["--job", "x", "--kafka-group", "backfill:x"], exits: 1)
    #expect(group.contains("kafka.group is backfill:x"))
  }

  @Test("whose topic was made anew, or whose position was deleted, ends and says so instead of waiting")
  func topicMadeAnew() async throws {
    var truth = Truth()
    let stage = try stage(200, seed: 7, &truth)
    _ = try await stage.replayed("--job", "old", "--partition", "0")
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_backfill_jobs SET finished_at = NULL;
      UPDATE @.chat_telemetry_backfill_partitions SET end_offset = 1000
      """)
    #expect(
      try await stage.backfill(["--job", "old"], exits: 1).contains("was to be replayed up to offset 1000"))
    try stage.database.execute("DELETE FROM @.chat_telemetry_offsets")
    #expect(
      try await stage.backfill(["--job", "old"], exits: 1).contains("is gone from chat_telemetry_offsets"))
  }
}
