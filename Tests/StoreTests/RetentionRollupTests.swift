import Foundation
import Postgres
import Store
import TestSupport
import Testing

@Suite("Retention of rollups, dead letters and the refresh log")
struct RetentionRollupTests {
  /// Every step until nothing is left, in the order of the stages; returns how many steps deleted something.
  @discardableResult
  static func runAll(_ retention: Retention, rowLimit: Int, days: Int = 30) throws -> Int {
    var steps = 0
    while try retention.dropRawDay(days: days, lockWaitMs: 1_000) != nil { steps += 1 }
    while try retention.dropHourRollups(days: days, rowLimit: rowLimit) != nil { steps += 1 }
    while try retention.settleDayRollups(days: days, rowLimit: rowLimit) != nil { steps += 1 }
    return steps
  }

  private func count(_ table: String, _ granularity: String, _ scene: RetentionScene) throws -> Int64 {
    try scene.database.number("SELECT count(*) FROM @.\(table) WHERE granularity = '\(granularity)'")
  }

  @Test("Hour rollups go in small steps, only of days that are old enough and whose raw rows are gone")
  func hourRollups() throws {
    let scene = try RetentionScene()
    try scene.stage.writer().commit(scene.events(150, day: 0, seed: 1) + scene.events(150, day: 1, seed: 2))
    try scene.database.rows("SELECT @.chat_telemetry_fold()")
    let before = try scene.database.number(
      """
      SELECT (SELECT count(*) FROM @.chat_telemetry_rollups_hour WHERE bucket_start < '2024-05-11+00')
        + (SELECT count(*) FROM @.chat_telemetry_domain_rollups_hour WHERE bucket_start < '2024-05-11+00')
        + (SELECT count(*) FROM @.chat_telemetry_model_rollups_hour WHERE bucket_start < '2024-05-11+00')
      """)
    let days = try scene.stage.database.rows(
      "SELECT md5(string_agg(r::text, '|')) FROM @.chat_telemetry_model_rollups_day AS r")
    let retention = try scene.retention()
    #expect(try retention.dropHourRollups(days: 1, rowLimit: 1_000) == nil)
    try scene.age()
    try scene.database.rows("UPDATE @.chat_telemetry_days SET created_at = now() WHERE day = '2024-05-11'")
    #expect(try retention.dropRawDay(days: 30, lockWaitMs: 1_000)?.day == "2024-05-10")
    #expect(try retention.dropHourRollups(days: 36_500, rowLimit: 1_000) == nil)
    var left = before
    while left > 0 {
      let step = try #require(try retention.dropHourRollups(days: 30, rowLimit: 40))
      #expect(step.day == "2024-05-10" && step.rows == min(left, 40))
      #expect(step.wholeDay == (left < 40 ? before : nil))
      left -= step.rows
    }
    #expect(try retention.dropHourRollups(days: 30, rowLimit: 40) == nil || before % 40 == 0)
    #expect(try scene.marks() == ["2024-05-10 150 \(before) -", "2024-05-11 - - -"])
    for table in ["chat_telemetry_rollups", "chat_telemetry_domain_rollups", "chat_telemetry_model_rollups"] {
      #expect(
        try scene.database.rows("SELECT DISTINCT bucket_start < '2024-05-11+00' FROM @.\(table)_hour") == [
          ["f"]
        ])
    }
    #expect(
      try scene.stage.database.rows(
        "SELECT md5(string_agg(r::text, '|')) FROM @.chat_telemetry_model_rollups_day AS r")
        == days)
  }

  @Test("Day rollups are merged into settled rows, each measure and each duration, and totals and views stay")
  func settles() throws {
    let stage = try SummaryStage()
    let scene = RetentionScene(of: stage)
    try stage.store.write(stage.events(400, daysAgo: 40, seed: 3) + stage.events(300, daysAgo: 38, seed: 4))
    try stage.refresh()
    // Two batches more: one is folded with its sketches left, one is pending.
    try stage.store.write(stage.events(200, daysAgo: 40, seed: 5))
    try stage.database.rows("SELECT @.chat_telemetry_fold()")
    try stage.store.write(stage.events(100, daysAgo: 38, seed: 6) + stage.events(150, daysAgo: 3, seed: 7))
    try scene.age()
    let retention = try scene.retention()
    for _ in 0..<2 { #expect(try retention.settleDayRollups(days: 30, rowLimit: 25) == nil) }
    let steps = try Self.runAll(retention, rowLimit: 25)
    #expect(steps > 20)

    let old = "created_at < timestamptz '\(try stage.date(daysAgo: 37)!) 00:00+00'"
    #expect(try scene.settledMeasures() == scene.measures(of: old))
    #expect(try scene.durationsApart(old) == [])
    // Totals are what is settled and what the days that are left hold; nothing of the old days is left anywhere else.
    #expect(
      try stage.database.rows(
        """
        SELECT (SELECT sum(total_requests) FROM @.chat_telemetry_totals),
          (SELECT sum(total_requests) FROM @.chat_telemetry_settled_rollups),
          (SELECT sum(total_requests) FROM @.chat_telemetry_model_rollups_day),
          (SELECT sum(total_requests) FROM @.chat_telemetry_domain_rollups_day),
          (SELECT sum(total_requests) FROM @.chat_telemetry_rollups_day),
          (SELECT count(*) FROM @.chat_telemetry_day_sketch_deltas WHERE day < current_date - 30)
        """) == [["1150", "1000", "150", "150", "150", "0"]])
    try stage.refresh()
    #expect(try SummaryTruth(database: stage.database).viewDifferences() == [])
  }

  @Test("Several sessions that drop at once do no harm")
  func racing() async throws {
    let stage = try SummaryStage()
    let scene = RetentionScene(of: stage)
    for day in 0..<4 as Range<Int64> {
      try stage.store.write(stage.events(150, daysAgo: 40 + day, seed: 20 + UInt64(day)))
    }
    try scene.age()
    let running = (0..<4).map { _ in
      Background { [scene] in
        let retention = try scene.retention()
        var isDone = false
        while !isDone {
          do {
            try Self.runAll(retention, rowLimit: 30)
            isDone =
              try scene.database.number(
                "SELECT count(*) FROM @.chat_telemetry_days WHERE day < current_date - 30 AND settled_at IS NULL"
              ) == 0
          } catch let error as PostgresError where error.sqlState == .lockNotAvailable {}
        }
      }
    }
    for each in running { try await each.value }
    #expect(try scene.settledMeasures() == scene.measures(of: "true"))
    #expect(try scene.durationsApart("true") == [])
    #expect(
      try stage.database.rows(
        "SELECT sum(dropped_rows), bool_and(settled_at IS NOT NULL) FROM @.chat_telemetry_days WHERE day < current_date - 30"
      )
        == [["600", "t"]])
  }

  @Test("While somebody folds or refreshes, settling waits for another time")
  func settlingWaits() throws {
    let scene = try RetentionScene()
    try scene.stage.writer().commit(scene.events(50, day: 0, seed: 8))
    try scene.age()
    let retention = try scene.retention()
    _ = try retention.dropRawDay(days: 30, lockWaitMs: 1_000)
    _ = try retention.dropHourRollups(days: 30, rowLimit: 1_000)
    // Nothing is left to fold, which would wait for the lock anyway.
    try scene.database.rows(
      "SELECT @.chat_telemetry_fold(); SELECT @.chat_telemetry_settle_day_sketches()")
    let folder = try scene.database.connect()
    try folder.execute(scene.database.sql("BEGIN; SELECT @.chat_telemetry_fold()"), operation: "fold")
    try scene.expectDelay { try retention.settleDayRollups(days: 30, rowLimit: 1_000) }
    try folder.execute("ROLLBACK", operation: "roll back")
    #expect(try retention.settleDayRollups(days: 30, rowLimit: 1_000)?.day == "2024-05-10")
  }

  @Test("Old dead letters go in small steps, the oldest first, unless they are being retried")
  func deadLetters() throws {
    let scene = try RetentionScene()
    try scene.stage.writer().commit((0..<20).map { "bad \($0)" })
    try scene.database.rows(
      """
      UPDATE @.chat_telemetry_dead_letters
      SET received_at = now() - make_interval(days => 25 + record_offset::integer),
        resolved_at = CASE WHEN record_offset % 3 = 0 THEN now() END,
        resolution = CASE WHEN record_offset % 3 = 0 THEN 'discarded' END
      """)
    // 25 days for the record 0, 44 for the last one; record 12 is being retried.
    let retrier = try scene.database.connect()
    try retrier.execute(
      scene.database.sql(
        "BEGIN; SELECT FROM @.chat_telemetry_dead_letters WHERE record_offset = 12 FOR UPDATE"),
      operation: "retry")
    let retention = try scene.retention()
    #expect(try retention.deleteDeadLetters(days: 30, rowLimit: 4) == (1, 3))
    #expect(try scene.stage.deadLetters("record_offset").count == 16)
    #expect(
      try scene.database.number("SELECT max(record_offset) FROM @.chat_telemetry_dead_letters") == 15)
    #expect(try retention.deleteDeadLetters(days: 30, rowLimit: 100) == (3, 7))
    #expect(try retention.deleteDeadLetters(days: 30, rowLimit: 100) == (0, 0))
    #expect(
      try scene.stage.deadLetters("record_offset") == [0, 1, 2, 3, 4, 12].map { ["\($0)"] })
  }

  @Test("The worker's role, which owns nothing, can do all of it")
  func withoutOwnership() throws {
    let scene = try RetentionScene()
    let role = scene.database.role("worker")
    try scene.database.rows("CREATE ROLE \(role) LOGIN")
    try Grants(schema: scene.database.schema).give(to: role, try scene.database.connect())
    try scene.stage.writer().commit(scene.events(50, day: 0, seed: 9).map(\.json) + ["bad"])
    try scene.age("40 days")
    try scene.database.rows(
      "UPDATE @.chat_telemetry_dead_letters SET received_at = received_at - interval '40 days'")
    let options = scene.database.options(user: role)
    let retention = try scene.retention(options: options)
    try Self.runAll(retention, rowLimit: 100)
    #expect(try scene.marks().map { $0.hasPrefix("2024-05-10 50 ") && !$0.contains(" -") } == [true])
    #expect(try retention.deleteDeadLetters(days: 30, rowLimit: 10) == (0, 1))
    #expect(try retention.trimRefreshLog(days: 30, rowLimit: 10) == 0)
    let status = try StatusReader(connection: Connection(options), schema: scene.database.schema)
      .retention(rawDays: 30)
    #expect(status.droppedDays > 0 && status.overdueDays == 0)
    let error = try #require(throws: PostgresError.self) {
      try Connection(options).execute(
        scene.database.sql("DELETE FROM @.chat_telemetry_settled_rollups"), operation: "overstep")
    }
    #expect(error.sqlState == .insufficientPrivilege)
  }
}

extension RetentionScene {
  private static let measures = """
    count(*), count(*) FILTER (WHERE success), count(*) FILTER (WHERE NOT success),
    sum(coalesce(input_tokens, 0)), sum(coalesce(output_tokens, 0)), trim_scale(sum(coalesce(cost_usd, 0))),
    trim_scale(max(cost_usd)), sum(coalesce(duration_ms, 0)), count(duration_ms), max(duration_ms), sum(search_count),
    sum(iterations), min(created_at), max(created_at)
    """

  /// The settled rows' measures, by domain and model.
  func settledMeasures() throws -> [[String?]] {
    try database.rows(
      """
      SELECT domain, model, total_requests, success_count, failure_count, total_input_tokens, total_output_tokens,
        trim_scale(total_cost_usd), trim_scale(max_cost_usd), total_duration_ms, timed_requests, max_duration_ms,
        total_searches, total_iterations, first_request_at, last_request_at
      FROM @.chat_telemetry_settled_rollups ORDER BY domain COLLATE "C", model COLLATE "C"
      """)
  }

  /// The same of the test's own table of events.
  func measures(of filter: String) throws -> [[String?]] {
    try database.rows(
      """
      SELECT domain, shown, \(Self.measures)
      FROM (SELECT *, coalesce(nullif(model, ''), 'unknown') AS shown FROM @.truth WHERE \(filter)) AS event
      GROUP BY domain, shown ORDER BY domain COLLATE "C", shown COLLATE "C"
      """)
  }

  /// Where the settled sketches, written out duration by duration, are more than 1 % away from the true durations, have
  /// others than those, or have a bin twice.
  func durationsApart(_ filter: String) throws -> [[String?]] {
    try database.rows(
      """
      WITH settled AS (
        SELECT s.domain, s.model, @.chat_telemetry_bin_value(u.bin) AS ms,
          row_number() OVER (PARTITION BY s.domain, s.model ORDER BY u.bin) AS place
        FROM @.chat_telemetry_settled_rollups AS s, unnest(s.duration_bins, s.duration_bin_counts) AS u (bin, n),
          generate_series(1, u.n)
      ), true_one AS (
        SELECT domain, coalesce(nullif(model, ''), 'unknown') AS model, duration_ms AS ms,
          row_number() OVER (PARTITION BY domain, coalesce(nullif(model, ''), 'unknown') ORDER BY duration_ms) AS place
        FROM @.truth WHERE duration_ms IS NOT NULL AND \(filter)
      )
      SELECT coalesce(t.domain, s.domain), coalesce(t.model, s.model), t.ms, s.ms FROM true_one AS t
      FULL JOIN settled AS s ON coalesce(s.domain, '') = coalesce(t.domain, '') AND s.model = t.model AND s.place = t.place
      WHERE s.ms IS NULL OR t.ms IS NULL OR abs(s.ms - t.ms) > 0.01 * t.ms
      UNION ALL
      SELECT domain, model, NULL, NULL FROM @.chat_telemetry_settled_rollups AS s
      WHERE cardinality(duration_bins) <> (SELECT count(DISTINCT b) FROM unnest(s.duration_bins) AS b)
      """)
  }
}
