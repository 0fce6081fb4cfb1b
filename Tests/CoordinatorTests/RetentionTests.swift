import Coordinator
import Monitoring
import Postgres
import TestSupport
import Testing

@Suite("The coordinator's retention")
struct RetentionTests {
  private static let keepOneDay = RetentionSettings(
    rawDays: 1, hourDays: 1, dayDays: 1, deadLetterDays: 1, refreshLogDays: 1)

  /// A stage with events of ten days, all but the last one old and long unwritten, and old dead letters.
  private func oldStage(days: Int64 = 10) throws -> CoordinatorStage {
    let stage = try CoordinatorStage()
    let nowMs = try stage.database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    var random = SeededGenerator(seed: 1)
    for daysAgo in 0..<days {
      try stage.store.write(
        (0..<30).map { _ in
          .random(&random, nowMs: nowMs - (daysAgo > 0 ? (daysAgo + 5) * 86_400_000 : 0), spanMs: 1_000)
        })
    }
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_days SET created_at = created_at - interval '2 days';
      UPDATE @.chat_telemetry_rollups_hour SET updated_at = updated_at - interval '2 days';
      INSERT INTO @.chat_telemetry_dead_letters (topic, partition, record_offset, payload_bytes, reason, detail, received_at)
      SELECT 't', 0, n, 0, 'invalid_json', '', now() - interval '2 days' FROM generate_series(1, 7) AS s (n)
      """)
    return stage
  }

  /// Days whose raw rows, hour rollups and day rollups are gone.
  private func gone(_ stage: CoordinatorStage) throws -> [Int64] {
    try stage.database.rows(
      "SELECT count(dropped_at), count(hours_dropped_at), count(settled_at) FROM @.chat_telemetry_days"
    )[0].map { Int64($0 ?? "") ?? 0 }
  }

  @Test("drops what is old in all its stages, while views are refreshed, and counts it")
  func everything() async throws {
    let stage = try oldStage()
    let settings = stage.settings(CoordinatorStage.trigger(afterEvents: 5), retention: Self.keepOneDay)
    try await stage.whileCoordinating(settings) { running in
      try await eventually("all is gone") { try gone(stage) == [9, 9, 9] }
      let dropped = running.metrics.retention.dropped
      try await eventually("the dead letters are gone") { dropped.series("dead_letter").value == 7 }
      #expect(dropped.series("raw").value == 270)
      #expect(
        try dropped.series("hour").value
          == Int(stage.database.number("SELECT sum(dropped_hour_rows) FROM @.chat_telemetry_days")))
      #expect(
        try dropped.series("day").value
          == Int(stage.database.number("SELECT sum(dropped_day_rows) FROM @.chat_telemetry_days")))
      try stage.write(10, seed: 2)
      try await eventually("the views are refreshed") {
        try stage.database.number("SELECT sum(total_uses) FROM @.chat_telemetry_model_summary")
          == stage.database.number("SELECT count(*) FROM @.truth WHERE model <> ''")
      }
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 40)
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 0)
  }

  @Test("keeps everything where the days are 0")
  func keepsAll() async throws {
    let stage = try oldStage()
    try await stage.whileCoordinating(stage.settings(CoordinatorStage.trigger())) { running in
      try await stage.logged(2)
      try await stage.looked()
      #expect(try gone(stage) == [0, 0, 0])
      #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 7)
    }
  }

  @Test("waits for a long reader, says so, refreshes meanwhile, and drops once it is gone")
  func longReader() async throws {
    let stage = try oldStage(days: 3)
    let reader = try stage.database.connect()
    try reader.execute(stage.database.sql("BEGIN; SELECT FROM @.chat_telemetry"), operation: "read for long")
    let settings = stage.settings(CoordinatorStage.trigger(afterEvents: 5), retention: Self.keepOneDay)
    try await stage.whileCoordinating(settings) { running in
      try await eventually("it was delayed") {
        running.metrics.retention.delays.series("raw").value >= 1
      }
      try stage.write(10, seed: 3)
      try await stage.logged(4)
      #expect(try gone(stage) == [0, 0, 0])
      #expect(running.health.isReady)
      try reader.execute("ROLLBACK", operation: "stop reading")
      try await eventually("the days are dropped") { try gone(stage) == [2, 2, 2] }
    }
  }

  @Test("tells of a step that fails, and goes on with the others and with the views")
  func failingStep() async throws {
    let stage = try oldStage(days: 2)
    let leaf = try stage.database.rows(
      "SELECT 'chat_telemetry_' || to_char(min(day), 'YYYY_MM_DD') FROM @.chat_telemetry_days")[0][0]!
    try stage.database.execute("CREATE VIEW @.report AS SELECT id FROM @.\(leaf)")
    let settings = stage.settings(CoordinatorStage.trigger(afterEvents: 5), retention: Self.keepOneDay)
    try await stage.whileCoordinating(settings) { running in
      try await eventually("the failure is counted") {
        running.metrics.ingest.databaseErrors.series("2B", "retry").value >= 1
      }
      try await eventually("the dead letters are gone") {
        running.metrics.retention.dropped.series("dead_letter").value == 7
      }
      try stage.write(10, seed: 4)
      try await stage.logged(4)
      #expect(running.health.isReady && running.leads)
      #expect(try gone(stage) == [0, 0, 0])
      try stage.database.execute("DROP VIEW @.report")
      try await eventually("the day is dropped") { try gone(stage) == [1, 1, 1] }
    }
  }

  @Test("is done once by two replicas, and goes on with the other one when the lease is lost midway")
  func twoReplicas() async throws {
    let stage = try oldStage(days: 12)
    var settings = stage.settings(CoordinatorStage.trigger(), holder: "a", retention: Self.keepOneDay)
    let first = RunningCoordinator(settings)
    settings.holder = "b"
    let second = RunningCoordinator(settings)
    try await eventually("something is dropped") { try gone(stage)[0] > 2 }
    // Whoever holds it finds it gone at the next round, and the other one may have it.
    try stage.database.execute("UPDATE @.chat_telemetry_lease SET holder = 'nobody', expires_at = now()")
    try await eventually("all is gone") { try gone(stage) == [11, 11, 11] }
    await first.stop()
    await second.stop()
    let dropped = [first, second].map { $0.metrics.retention.dropped.series("raw").value }
    #expect(dropped.reduce(0, +) == 330)
    #expect(
      try stage.database.number("SELECT sum(total_requests) FROM @.chat_telemetry_settled_rollups") == 330)
  }
}
