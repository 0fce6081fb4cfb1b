import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite struct DeadLetterRetryTests {
  @Test("Retried events are stored exactly, in raw rows, rollups, deltas, windows and pending batches")
  func exact() throws {
    let stage = try LetterStage()
    let events = stage.events(400, seed: 1)
    try stage.insert(events.map(\.json))
    let report = try stage.retry()
    #expect(report.stored == 400 && report.duplicates == 0 && report.failedCount == 0)
    #expect(try stage.truth(events).differences(in: stage.database).isEmpty)
    #expect(try stage.windowDifferences().isEmpty)
    #expect(try stage.count("resolution = 'retried' AND resolved_at IS NOT NULL") == 400)
  }

  @Test("An event without an id gets the UUID of its first coordinates, version 5 as RFC 9562 has it")
  func coordinates() throws {
    let stage = try LetterStage()
    try stage.insert(
      [#"{"session_id":"s","model":"m","created_at":\#(LetterStage.nowMs)}"#], offset: 42)
    #expect(try stage.retry().stored == 1)
    // By Python: uuid5(uuid5(NAMESPACE_DNS, "telemetry-worker"), "chat-telemetry/3/42").
    #expect(
      try stage.database.rows("SELECT id FROM @.chat_telemetry") == [["14cae7db-0f44-5dee-8c3c-7bb71f7d766a"]]
    )
  }

  @Test("Those that fail again stay, with the reason and the detail of now, and are reported")
  func failsAgain() throws {
    let stage = try LetterStage()
    let event = stage.events(1, seed: 2)[0]
    try stage.insert(["{", #"{"created_at":1773578096000,"session_id":7}"#, event.json])
    let report = try stage.retry()
    #expect(report.stored == 1)
    #expect(report.failed == [.invalidJSON: 1, .wrongType: 1])
    #expect(report.failures.map(\.reason) == ["invalid_json", "wrong_type"])
    #expect(
      try stage.letters() == [
        "0 invalid_json value: ends too soon: { -",
        "1 wrong_type session_id: a number where a string was expected: 7 -", "2 wrong_type before retried",
      ])
  }

  @Test("Events in the table already, and two letters of one event, resolve and add nothing")
  func duplicates() throws {
    let stage = try LetterStage()
    let events = stage.events(20, seed: 3)
    try stage.insert(events.map(\.json))
    _ = try stage.retry()
    try stage.insert(events.map(\.json), offset: 100)
    let more = stage.events(5, seed: 4)
    try stage.insert((more + more).map(\.json), offset: 200)
    let report = try stage.retry()
    #expect(report.stored == 5 && report.duplicates == 25 && report.failedCount == 0)
    #expect(try stage.truth(events + more).differences(in: stage.database).isEmpty)
    #expect(try stage.count("resolved_at IS NULL") == 0)
  }

  @Test(
    "What the database refused stays while it does, also when all is refused alike, and is stored once it does not"
  )
  func constraint() throws {
    let stage = try LetterStage()
    let events = stage.events(250, seed: 5)
    try stage.database.execute(
      "ALTER TABLE @.chat_telemetry ADD CONSTRAINT no_session CHECK (session_id NOT LIKE 's-%') NOT VALID")
    try stage.insert(events.map(\.json), reason: .rejectedByDatabase)
    let refused = try stage.retry()
    #expect(refused.stored == 0 && refused.failed == [.rejectedByDatabase: 250])
    #expect(refused.failures.count == RetryReport.shownFailures)
    #expect(try stage.count("detail LIKE '%constraint no_session%' AND resolved_at IS NULL") == 250)
    #expect(try stage.truth([]).differences(in: stage.database).isEmpty)

    try stage.database.execute("ALTER TABLE @.chat_telemetry DROP CONSTRAINT no_session")
    #expect(try stage.retry().stored == 250)
    #expect(try stage.truth(events).differences(in: stage.database).isEmpty)
  }

  @Test("Neither a dropped day nor a payload that was not kept is stored, and both say so")
  func dropped() throws {
    let stage = try LetterStage()
    let now = LetterStage.nowMs
    try stage.database.execute(
      "INSERT INTO @.chat_telemetry_days (day, dropped_at) VALUES ('2026-03-10', now())")
    try stage.insert([
      #"{"session_id":"s","model":"m","created_at":\#(now - 5 * 86_400_000)}"#,
      #"{"session_id":"s","model":"m","created_at":\#(now)}"#,
    ])
    try stage.database.execute(
      "UPDATE @.chat_telemetry_dead_letters SET payload = NULL, reason = 'before_retention' WHERE record_offset = 1"
    )
    let report = try stage.retry()
    #expect(report.stored == 0 && report.failed == [.beforeRetention: 2])
    #expect(report.failures.last?.detail.contains("not kept") == true)
    #expect(
      try stage.letters() == [
        "0 before_retention the raw rows of 2026-03-10 were dropped by retention -",
        "1 before_retention before -",
      ])
    #expect(try stage.count("event_day = '2026-03-10'") == 1)
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 0)
  }

  @Test("Resolved letters are never retried, be they named")
  func resolved() throws {
    let stage = try LetterStage()
    let events = stage.events(3, seed: 6)
    try stage.insert(events.map(\.json))
    #expect(try stage.queries.discard(DeadLetterFilter(ids: [1])) == 1)
    let before = try stage.letters().first
    let report = try stage.retry(DeadLetterFilter(ids: [1, 2], state: .any))
    #expect(report.stored == 1 && report.duplicates == 0)
    #expect(try stage.letters().first == before)
    #expect(try stage.retry(DeadLetterFilter(ids: [1, 2])).stored == 0)
    #expect(try stage.truth([events[1]]).differences(in: stage.database).isEmpty)
  }

  @Test("A dry run reports what a retry would, and leaves everything as it is, days included")
  func dryRun() throws {
    let stage = try LetterStage()
    try stage.insert(stage.events(120, seed: 7).map(\.json) + ["[]"])
    let before = try stage.everything()
    let report = try stage.retry(dryRun: true)
    #expect(report.stored == 120 && report.failed == [.notAnObject: 1])
    #expect(try stage.everything() == before)
    #expect(try stage.retry().stored == 120)
  }

  @Test("Events of more days than a transaction may touch are all stored")
  func manyDays() throws {
    let stage = try LetterStage()
    let payloads = (0..<80).map {
      #"{"session_id":"s","model":"m","created_at":\#(LetterStage.nowMs - Int64($0) * 86_400_000)}"#
    }
    try stage.insert(payloads)
    #expect(try stage.retry().stored == 80)
    #expect(try stage.database.number("SELECT count(DISTINCT created_at::date) FROM @.chat_telemetry") == 80)
  }

  @Test(
    "A default fills in for a domain or a model that is missing or null, and disturbs nothing else",
    arguments: [
      (#""model":"given","domain":"Given.example""#, "Given.example given x"),
      (#""model":null,"domain":null"#, "d\"\\\u{1}.example m\n x"),
      (#""domain":" ","model":"""#, "d\"\\\u{1}.example  x"),
      (#""model":"first","model":null,"other":{"model":"inner"}"#, "d\"\\\u{1}.example m\n x"),
      (#""other":[]"#, "d\"\\\u{1}.example m\n x"),
    ])
  func defaults(members: String, expected: String) throws {
    let stage = try LetterStage()
    try stage.insert([#" {"created_at":\#(LetterStage.nowMs),"session_id":"x", \#(members) } \#n"#])
    let report = try stage.retry(
      defaults: FieldDefaults(domain: "d\"\\\u{1}.example", model: "m\n"))
    #expect(report.stored == 1, "\(report.failures)")
    #expect(
      try stage.database.rows("SELECT concat(domain, ' ', model, ' ', session_id) FROM @.chat_telemetry")
        == [[expected]])
  }

  @Test("No default stands in for a field of the wrong type, nor for another that is missing")
  func noDefault() throws {
    let stage = try LetterStage()
    let now = LetterStage.nowMs
    try stage.insert([
      #"{"created_at":\#(now),"session_id":"x","model":7}"#, #"{"created_at":\#(now),"model":null}"#,
    ])
    let report = try stage.retry(defaults: FieldDefaults(domain: "d", model: "m"))
    #expect(report.stored == 0 && report.failed == [.wrongType: 1, .missingField: 1])
  }

  @Test("Two retries at once store each event once, and the second finds nothing left to do")
  func concurrent() async throws {
    let stage = try LetterStage()
    let events = stage.events(60, seed: 8)
    try stage.insert(events.map(\.json))
    let gate = try RollupGate(stage)
    let (first, second) = (Retrying(stage, 1), Retrying(stage, 2))
    _ = try await (first.blocked(), second.blocked())
    try gate.open()
    let reports = try await [first.work.value, second.work.value]
    #expect(reports.map(\.stored).sorted() == [0, 60])
    #expect(reports.map(\.duplicates) == [0, 0] && reports.map(\.failedCount) == [0, 0])
    #expect(try stage.truth(events).differences(in: stage.database).isEmpty)
  }

  @Test("A retry that is ended in the middle of a page leaves nothing of it, and the next stores it all")
  func terminated() async throws {
    let stage = try LetterStage()
    let events = stage.events(60, seed: 9)
    try stage.insert(events.map(\.json) + ["{"])
    // Days are made in a transaction of their own.
    _ = try stage.retry(DeadLetterFilter(ids: [1]))
    let before = try stage.letters()
    let gate = try RollupGate(stage)
    let retrying = Retrying(stage)
    try stage.database.terminate(try await retrying.blocked())
    await #expect(throws: PostgresError.self) { try await retrying.work.value }
    try gate.open()
    #expect(try stage.letters() == before)
    #expect(try stage.truth([events[0]]).differences(in: stage.database).isEmpty)
    #expect(try stage.retry().stored == 59)
    #expect(try stage.truth(events).differences(in: stage.database).isEmpty)
  }
}

/// Holds the lock under which rollups are written: whoever retries stops just before the end of its transaction.
private struct RollupGate {
  private let connection: Connection

  init(_ stage: LetterStage) throws {
    connection = try stage.database.connect()
    try connection.execute(
      stage.database.sql(
        "BEGIN; SELECT pg_advisory_xact_lock('@.chat_telemetry_rollups'::regclass::oid::bigint)"),
      operation: "hold the rollups' lock")
  }

  func open() throws { try connection.execute("ROLLBACK", operation: "let go of the rollups' lock") }
}

/// A retry of everything, on a thread and a connection of its own.
private struct Retrying {
  let stage: LetterStage
  let name: String
  let work: Background<RetryReport>

  init(_ stage: LetterStage, _ number: Int = 1) {
    let name = "\(stage.database.schema.name)-retry-\(number)"
    let options = ConnectionOptions(conninfo: stage.database.options.conninfo, applicationName: name)
    self.stage = stage
    self.name = name
    work = Background { try stage.retry(on: Connection(options)) }
  }

  /// Waits until it waits for a lock; returns its backend's process id.
  func blocked() async throws -> Int32 {
    var pid: Int64 = 0
    try await eventually("\(name) waits for a lock") {
      pid = try stage.database.number(
        "SELECT pid FROM pg_stat_activity WHERE application_name = '\(name)' AND wait_event_type = 'Lock'")
      return pid != 0
    }
    return Int32(pid)
  }
}
