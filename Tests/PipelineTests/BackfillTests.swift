import Glibc
import Kafka
import Postgres
import Store
import TestSupport
import Testing

@Suite("A backfill", .timeLimit(.minutes(3)))
struct BackfillTests {
  /// Events, with repeats and with records that are none.
  private func produce(_ stage: Stage, _ count: Int, seed: UInt64, _ truth: inout Truth) throws {
    var random = SeededGenerator(seed: seed)
    for number in 0..<count {
      let event = TestEvent.random(&random, nowMs: stage.nowMs)
      truth.add(event)
      try stage.produce(event.json)
      if number % 20 == 0 { try stage.produce(event.json) }
      if number % 50 == 0 { try stage.produce("no event") }
      if number % 100 == 0 { try stage.produce(nil, key: [1]) }
    }
    try stage.flush()
  }

  @Test("stores what is missing, and done again changes not one value, be it the time of a change")
  func twice() async throws {
    let stage = try Stage(partitions: 3)
    var truth = Truth()
    try produce(stage, 2_000, seed: 1, &truth)
    let first = try await stage.replayed()
    #expect(first.state == "finished" && first.remaining == 0)
    #expect([first.stored, first.duplicate, first.deadLetter, first.skipped] == [2_000, 100, 40, 20])
    #expect(try truth.differences(in: stage.database) == [])
    let before = try stage.measures()
    let second = try await stage.replayed("--parallel", "2")
    #expect(second.job != first.job, "what is done is replayed under a new name")
    #expect([second.stored, second.duplicate, second.deadLetter, second.skipped] == [0, 2_100, 40, 20])
    #expect(try stage.measures() == before)
    #expect(try truth.differences(in: stage.database) == [])
    let refreshes = try stage.database.rows(
      "SELECT view_name, status FROM @.chat_telemetry_refresh_log WHERE trigger = 'backfill' ORDER BY id")
    #expect(refreshes.map { $0[1] } == Array(repeating: "SUCCESS", count: 4))
  }

  @Test("killed at random moments goes on where it was, and counts every record once", arguments: [UInt64(1)])
  func killed(seed: UInt64) async throws {
    let stage = try Stage(partitions: 2)
    var truth = Truth()
    var random = SeededGenerator(seed: seed)
    try produce(stage, 6_000, seed: seed, &truth)
    let records = 6_000 + 300 + 120 + 60
    for round in 1...3 {
      let process = try stage.startBackfill(["--job", "killed", "--parallel", "2"])
      let goal = round * 1_500 + .random(in: 0...300, using: &random)
      try await eventually("it has come a little further") { try stage.backfilled() >= goal }
      try await process.killHard()
    }
    try #require(try stage.backfilled() < records, "there is something left to do")
    let answer = try await stage.replayed("--job", "killed")
    #expect(answer.state == "finished")
    #expect([answer.stored, answer.duplicate, answer.deadLetter, answer.skipped] == [6_000, 300, 120, 60])
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("beside a live worker on the same topic leaves the group's positions alone, and nothing counts twice")
  func besideLive() async throws {
    let stage = try Stage(partitions: 2)
    var truth = Truth()
    var random = SeededGenerator(seed: 5)
    try stage.produce(3_000, &random, &truth)
    let live = try stage.start()
    try await eventually("the live worker is at work") { live.errors.contains("partitions assigned") }
    let backfill = try stage.startBackfill(["--job", "beside", "--json"])
    try stage.produce(3_000, &random, &truth)
    #expect(try await backfill.end() == 0, "\(backfill.errors)")
    try await eventually("the live worker reads to the end") {
      try stage.livePositions().reduce(0) { $0 + (Int($1[1] ?? "") ?? 0) } == 6_000
    }
    let ends = try stage.livePositions()
    #expect(try await stage.replayed("--job", "again").duplicate == 6_000)
    #expect(try stage.livePositions() == ends)
    #expect(!live.hasEnded)
    live.send(SIGTERM)
    #expect(try await live.end() == 0)
    #expect(live.errors.ranges(of: "partitions assigned").count == 1, "no rebalance")
    #expect(!live.errors.contains("batch discarded"))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("of offsets stores those and no others, of the partitions that were named")
  func offsets() async throws {
    let stage = try Stage(partitions: 3)
    var random = SeededGenerator(seed: 6)
    var truth = Truth()
    var elsewhere = Truth()
    for partition in Int32(0)...2 {
      for offset in 0..<300 {
        // More days than a transaction may touch, none of which is there yet.
        let event = TestEvent.random(&random, nowMs: stage.nowMs, spanMs: 150 * 86_400_000)
        let isAsked = partition != 1 && (100..<250).contains(offset)
        if isAsked { truth.add(event) } else { elsewhere.add(event) }
        try stage.produce(event.json, partition: partition)
      }
    }
    try stage.flush()
    let answer = try await stage.replayed(
      "--partition", "0", "--partition", "2", "--from", "100", "--to", "250")
    #expect(answer.stored == 300 && answer.done == 300)
    #expect(answer.partitions.map(\.partition) == [0, 2])
    #expect(try truth.differences(in: stage.database) == [])
    #expect(try await stage.replayed("--from", "10000").stored == 0, "there is nothing so far on")
  }

  @Test("of times stores what is stamped within, whatever stands before or behind it, and counts the rest")
  func times() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 7)
    var truth = Truth()
    // 2026-03-01T00:00:00Z, and records stamped up to an hour around it, out of order.
    let limitMs: Int64 = 1_772_323_200_000
    for number in 0..<400 {
      let event = TestEvent.random(&random, nowMs: stage.nowMs)
      let stampMs =
        number == 7 ? limitMs : limitMs - 1 + .random(in: -3_600_000...3_600_000, using: &random)
      if stampMs < limitMs { truth.add(event) }
      try stage.producer.produce(
        topic: stage.topic, partition: 0, key: nil, value: Array(event.json.utf8), timestampMs: stampMs)
    }
    try stage.flush()
    let answer = try await stage.replayed("--to", "2026-03-01T00:00:00Z")
    #expect(answer.stored == truth.count && truth.count > 100)
    #expect(answer.outOfRange == 400 - truth.count)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("counts what the broker has deleted, and goes on at the oldest record")
  func gap() async throws {
    let stage = try Stage()
    try stage.pushOut(records: 80)
    let low = try Int(stage.low())
    try #require(low > 0)
    let planned = try await stage.replayed("--from", "0", "--dry-run")
    #expect(planned.missing == low && planned.remaining == 80 - low)
    let answer = try await stage.replayed("--from", "0")
    #expect(answer.missing == low && answer.skipped == 80 - low)
    // Where all that was asked for is gone, nothing is left to wait for.
    let gone = try await stage.replayed("--from", "0", "--to", String(low))
    #expect(gone.missing == low && gone.done == low)
  }

  @Test(
    "of a day whose raw rows were dropped makes dead letters, as a repeat could not be told from a new event")
  func droppedDay() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 9)
    var event = TestEvent.random(&random, nowMs: stage.nowMs)
    event.createdAtMs = stage.nowMs - 40 * 86_400_000
    try stage.produce(event.json)
    try stage.flush()
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_days (day, dropped_at)
      VALUES (date(to_timestamp(\(event.createdAtMs) / 1000.0) AT TIME ZONE 'UTC'), now())
      """)
    let answer = try await stage.replayed()
    #expect(answer.deadLetter == 1 && answer.stored == 0)
    #expect(
      try stage.database.rows("SELECT reason FROM @.chat_telemetry_dead_letters") == [["before_retention"]])
  }

  @Test("that is a dry run says what would be read and changes nothing")
  func dryRun() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 8)
    var truth = Truth()
    for partition in Int32(0)...1 { try stage.produce(100, &random, &truth, partition: partition) }
    let answer = try await stage.replayed("--dry-run", "--from", "20", "--to", "70", "--job", "later")
    #expect(answer.state == "planned" && answer.remaining == 100)
    #expect(
      answer.partitions.map { [$0.startOffset, $0.endOffset, $0.remaining] } == [
        [20, 70, 50], [20, 70, 50],
      ])
    for table in [
      "chat_telemetry", "chat_telemetry_offsets", "chat_telemetry_backfill_jobs", "chat_telemetry_days",
    ] {
      #expect(try stage.database.number("SELECT count(*) FROM @.\(table)") == 0, "\(table)")
    }
    // Of a job that has begun it says what is left.
    _ = try await stage.replayed("--from", "20", "--to", "70", "--job", "later")
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_backfill_jobs SET finished_at = NULL;
      UPDATE @.chat_telemetry_offsets SET next_offset = 60 WHERE partition = 1
      """)
    #expect(try await stage.replayed("--dry-run", "--job", "later").partitions.map(\.remaining) == [0, 10])
  }
}
