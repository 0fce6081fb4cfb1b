import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Retention by a running worker", .timeLimit(.minutes(4)))
struct RetentionProcessTests {
  private static let settings = [
    "TELEMETRY_RETENTION_RAW_DAYS": "2", "TELEMETRY_RETENTION_HOUR_DAYS": "3",
    "TELEMETRY_RETENTION_DAY_DAYS": "5",
    "TELEMETRY_REFRESH_AFTER_EVENTS": "1",
  ]

  private struct Status: Decodable {
    var retention: Retention

    struct Retention: Decodable {
      var rawDays: Int
      var oldestRawDay: String
      var nextDropAt: String?
      var overdueDays: Int
      var droppedDays: Int
      var lateEvents: Int
    }
  }

  private func status(_ stage: WorkerStage) throws -> Status.Retention {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let json = try execute(
      ["status", "--json"], environment: stage.environment.merging(Self.settings) { $1 })
    #expect(json.code == 0, "\(json.errors)")
    return try decoder.decode(Status.self, from: json.output).retention
  }

  /// Events of this moment, so many days ago.
  private func events(_ count: Int, daysAgo: Int64, seed: UInt64, _ stage: WorkerStage) -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      var event = TestEvent.random(&random, nowMs: stage.nowMs - daysAgo * 86_400_000, spanMs: 1_000)
      event.domain = "acme.example"
      return event
    }
  }

  @Test("Old days go stage by stage, what was stored lately stays, and a late event is a dead letter")
  func dropsOldDays() async throws {
    let stage = try WorkerStage(partitions: 1)
    for daysAgo in [0, 4, 5, 8, 9] as [Int64] {
      for event in events(20, daysAgo: daysAgo, seed: UInt64(daysAgo), stage) {
        try stage.produce(event.json)
      }
    }
    try stage.flush()
    try await stage.withWorker(Self.settings) { worker in
      try await worker.scrape(until: "all is stored") { $0["consumer_committed_offset", Self.first] == 100 }
      try await worker.scrape(until: "it coordinates") { $0["coordinator_leader"] == 1 }
      // Old as they are, they came just now.
      #expect(try await worker.scrape().sum("retention_dropped_total") == 0)
    }
    let before = try status(stage)
    #expect(before.droppedDays == 0 && before.overdueDays == 0 && before.nextDropAt != nil)

    try stage.database.rows(
      """
      UPDATE @.chat_telemetry_days SET created_at = created_at - interval '25 hours';
      UPDATE @.chat_telemetry_rollups_hour SET updated_at = updated_at - interval '25 hours'
      """)
    #expect(try status(stage).overdueDays == 4)
    try await stage.withWorker(Self.settings) { worker in
      try await worker.scrape(until: "two days are settled") {
        $0["retention_dropped_total", ["kind": "raw"]] == 80
          && ($0["retention_dropped_total", ["kind": "day"]] ?? 0) > 0
      }
      try await eventually("all stages are done") { try marks(stage) == ["4 4 2"] }
      #expect(worker.hasLogged("a day's old rows are dropped"))
      let late = events(1, daysAgo: 8, seed: 99, stage)[0]
      try stage.produce(late.json)
      let new = events(1, daysAgo: 0, seed: 98, stage)[0]
      try stage.produce(new.json)
      try stage.flush()
      try await worker.scrape(until: "the late one is a dead letter") {
        $0["dead_letters_total", ["topic": stage.topic, "reason": "before_retention"]] == 1
          && $0["consumer_committed_offset", Self.first] == 102
      }
      try await eventually("the view has all but the late one") {
        try stage.database.rows(
          "SELECT total_requests_all_time FROM @.chat_telemetry_domain_summary WHERE domain = 'acme.example'")
          == [["101"]]
      }
    }
    let after = try status(stage)
    #expect(after.droppedDays == 4 && after.overdueDays == 0 && after.lateEvents == 1)
    // Today's and tomorrow's.
    #expect(after.rawDays == 2)
    let text = try execute(["status"], environment: stage.environment.merging(Self.settings) { $1 })
    let line = String(decoding: text.output, as: UTF8.self).split(separator: "\n").last.map(String.init)
    #expect(
      line?.wholeMatch(
        of:
          /Raw rows: 2 days since \d{4}-\d\d-\d\d, the next one goes from .*Z on; 4 dropped, 1 events came after that/
      )
        != nil, "\(line ?? "")")
  }

  private static let first = ["topic": "chat-telemetry", "partition": "0"]

  /// Days whose raw rows, hour rollups and day rollups are gone.
  private func marks(_ stage: WorkerStage) throws -> [String?] {
    try stage.database.rows(
      "SELECT concat_ws(' ', count(dropped_at), count(hours_dropped_at), count(settled_at)) FROM @.chat_telemetry_days"
    ).map { $0[0] }
  }

  @Test("A retention that does not nest ends the worker with 78, and both settings are named")
  func wrongOrder() throws {
    let result = try execute(
      ["run"], environment: ["TELEMETRY_RETENTION_RAW_DAYS": "91", "TELEMETRY_RETENTION_DAY_DAYS": "80"])
    #expect(result.code == 78)
    for name in ["retention.raw_days", "retention.hour_days", "retention.day_days"] {
      #expect(result.errors.contains(name), "\(result.errors)")
    }
  }
}
