import Postgres
import Store
import TestSupport
import Testing

@Suite("Refreshing the summary views")
struct SummaryRefreshTests {
  /// Makes the model view divide by zero, and nothing else fail.
  static let breakModels = """
    INSERT INTO @.chat_telemetry_totals (domain, model, total_requests, success_count, failure_count,
      total_input_tokens, total_output_tokens, total_cost_usd, total_duration_ms, timed_requests, total_searches,
      total_iterations, first_request_at, last_request_at)
    VALUES (NULL, 'broken', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, now(), now())
    """
  static let mendModels = "DELETE FROM @.chat_telemetry_totals WHERE model = 'broken'"

  @Test("works without arguments, and says what it did in the promised columns")
  func byHand() throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(50, seed: 31))
    let rows = try stage.database.rows(
      """
      SELECT view_name, refresh_time_ms > 0, status FROM @.refresh_telemetry_summary_views() ORDER BY view_name
      """)
    #expect(
      rows == [
        ["chat_telemetry_domain_summary", "t", "SUCCESS"], ["chat_telemetry_model_summary", "t", "SUCCESS"],
      ])
    try stage.expectTruth()
    let log = try stage.database.rows(
      """
      SELECT l.view_name, trigger, finished_at >= started_at, status, events,
        rows = CASE WHEN l.view_name LIKE '%domain%' THEN (SELECT count(*) FROM @.chat_telemetry_domain_summary)
          ELSE (SELECT count(*) FROM @.chat_telemetry_model_summary) END
      FROM @.chat_telemetry_refresh_log AS l ORDER BY id
      """)
    #expect(
      log == [
        ["chat_telemetry_domain_summary", "manual", "t", "SUCCESS", "50", "t"],
        ["chat_telemetry_model_summary", "manual", "t", "SUCCESS", "50", "t"],
      ])
  }

  @Test("needs no more than EXECUTE, whatever the caller's settings")
  func privileges() throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(50, seed: 32))
    let role = stage.database.role("dashboard")
    try stage.database.execute(
      """
      CREATE ROLE \(role) LOGIN;
      GRANT USAGE ON SCHEMA @ TO \(role);
      GRANT EXECUTE ON FUNCTION @.refresh_telemetry_summary_views(text, text) TO \(role)
      """)
    let caller = try Connection(stage.database.options(user: role))
    try caller.execute(
      "SET timezone = 'Asia/Kathmandu'; SET search_path = pg_temp", operation: "set odd settings")
    for _ in 0..<2 {
      let result = try caller.execute(
        stage.database.sql("SELECT status FROM @.refresh_telemetry_summary_views()"), operation: "refresh")
      #expect(result.rows.map { $0.text(0) } == ["SUCCESS", "SUCCESS"])
    }
    try stage.expectTruth()
    let outsider = stage.database.role("outsider")
    try stage.database.execute("CREATE ROLE \(outsider) LOGIN; GRANT USAGE ON SCHEMA @ TO \(outsider)")
    #expect(throws: PostgresError.self) {
      try Connection(stage.database.options(user: outsider)).execute(
        stage.database.sql("SELECT @.refresh_telemetry_summary_views()"), operation: "refresh")
    }
  }

  @Test("refuses a view that there is not, and names it")
  func unknownView() throws {
    let stage = try SummaryStage()
    let error = #expect(throws: PostgresError.self) {
      try stage.database.rows("SELECT * FROM @.refresh_telemetry_summary_views('chat_telemetry_users')")
    }
    #expect(error?.message == "there is no summary view chat_telemetry_users")
    #expect(error?.hint?.contains("chat_telemetry_domain_summary") == true)
  }

  @Test("blocks no reader, and waits for none")
  func readers() throws {
    let stage = try SummaryStage()
    try stage.store.write([stage.bare("one.example", "m")])
    try stage.refresh()
    let read = stage.database.sql("SELECT count(*) FROM @.chat_telemetry_domain_summary")
    let reader = try stage.database.connect()
    try reader.execute("BEGIN; SET LOCAL lock_timeout = '10s'; \(read)", operation: "read")
    try stage.store.write([stage.bare("two.example", "m")])

    // The reader's transaction is open while the views are refreshed, and the refresh's while somebody reads.
    let refresher = try stage.database.connect()
    let refreshed = try refresher.execute(
      stage.database.sql(
        "BEGIN; SET LOCAL lock_timeout = '10s'; SELECT status FROM @.refresh_telemetry_summary_views()"),
      operation: "refresh")
    #expect(refreshed.rows.map { $0.text(0) } == ["SUCCESS", "SUCCESS"])
    #expect(try reader.execute(read, operation: "read").rows[0].int(0) == 1)
    try refresher.execute("COMMIT", operation: "commit")
    #expect(try reader.execute(read, operation: "read").rows[0].int(0) == 2)
  }

  @Test("goes on with the other view when one fails, and tells why in result and log")
  func oneFails() throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(50, seed: 33))
    try stage.refresh()
    try stage.store.write(stage.events(30, seed: 34))
    try stage.database.execute(Self.breakModels)
    let outcomes = try stage.summaries().refresh(nil, cause: "schedule")
    #expect(outcomes.map(\.view) == [.domains, .models])
    #expect(outcomes.map(\.error) == [nil, "division by zero (SQLSTATE 22012)"])
    #expect(
      try stage.database.rows(
        "SELECT view_name, status, rows IS NULL, events FROM @.chat_telemetry_refresh_log WHERE trigger = 'schedule' ORDER BY id"
      ) == [
        ["chat_telemetry_domain_summary", "SUCCESS", "f", "30"],
        ["chat_telemetry_model_summary", "division by zero (SQLSTATE 22012)", "t", "30"],
      ])
    #expect(try stage.summaries().state().views.map(\.pendingEvents) == [0, 30])
    try stage.database.execute(Self.mendModels)
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("logs a fold that failed for both views, and shows what was there before")
  func foldFails() throws {
    let stage = try SummaryStage()
    try stage.store.write([stage.bare("one.example", "m")])
    try stage.refresh()
    try stage.store.write([stage.bare("two.example", "m")])
    try stage.database.execute(FoldTests.failOnTotals)
    let outcomes = try stage.summaries().refresh(nil, cause: "schedule")
    let failure = "fold: no more totals (SQLSTATE P0001)"
    #expect(outcomes.map(\.error) == [failure, failure])
    #expect(
      try stage.database.number(
        "SELECT count(*) FROM @.chat_telemetry_refresh_log WHERE status = '\(failure)'") == 2)
    #expect(
      try stage.view("chat_telemetry_domain_summary", "total_requests_all_time") == ["one.example": "1"])
    #expect(try stage.summaries().state().pendingEvents == 1)
    try stage.database.execute("DROP TRIGGER refuse ON @.chat_telemetry_totals")
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("counts the events since each view's last refresh exactly, folded meanwhile or not")
  func pending() throws {
    let stage = try SummaryStage()
    let summaries = try stage.summaries()
    func pending() throws -> [Int64] { try summaries.state().views.map(\.pendingEvents) }
    try stage.store.write(stage.events(10, seed: 35))
    #expect(try pending() == [10, 10])
    _ = try summaries.refresh(.domains, cause: "manual")
    #expect(try pending() == [0, 10])
    try stage.store.write(stage.events(7, seed: 36))
    #expect(try pending() == [7, 17])
    _ = try summaries.fold()
    #expect(try pending() == [7, 17])
    try EventStore(stage.database, partition: 1).write(stage.events(5, seed: 37))
    // Repeats are not new.
    try stage.store.write(stage.events(7, seed: 36))
    #expect(try pending() == [12, 22])
    _ = try summaries.refresh(.models, cause: "manual")
    #expect(try pending() == [12, 0])
    _ = try summaries.refresh(nil, cause: "manual")
    #expect(try pending() == [0, 0])
    #expect(
      try stage.database.rows("SELECT events FROM @.chat_telemetry_refresh_log ORDER BY id")
        == [["10"], ["22"], ["12"], ["0"]])
  }

  @Test("leaves the log's last success when the log is trimmed")
  func trimming() throws {
    let stage = try SummaryStage()
    for _ in 0..<3 { try stage.refresh() }
    try stage.database.execute(
      "UPDATE @.chat_telemetry_refresh_log SET finished_at = finished_at - interval '40 days'")
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_refresh_log") == 6)
    #expect(try stage.retention().trimRefreshLog(days: 30, rowLimit: 100) == 4)
    #expect(
      try stage.database.rows("SELECT id FROM @.chat_telemetry_refresh_log ORDER BY id") == [["5"], ["6"]])
  }
}
