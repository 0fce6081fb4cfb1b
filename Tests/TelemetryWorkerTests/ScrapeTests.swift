import Foundation
import Postgres
import TestSupport
import Testing

/// The families of a worker that has nothing to backfill, as the project documents them.
private let documented: Set<String> = [
  "consumer_lag_records", "consumer_lag_seconds", "consumer_committed_offset",
  "consumer_high_watermark_offset", "consumer_assigned_partitions", "consumer_rebalances_total",
  "offset_gap_records_total", "records_consumed_total", "record_bytes_consumed_total",
  "events_processed_total", "dead_letters_total", "event_repairs_total", "end_to_end_latency_seconds",
  "batch_write_duration_seconds", "batch_events", "buffer_events", "buffer_bytes",
  "last_committed_event_timestamp_seconds", "db_retries_total", "refresh_duration_seconds",
  "refreshes_total", "last_successful_refresh_timestamp_seconds", "refresh_pending_events",
  "coordinator_leader", "retention_dropped_total", "retention_delays_total", "build_info",
]

private let domainView = "chat_telemetry_domain_summary"
private let modelView = "chat_telemetry_model_summary"

@Suite("What a scrape of a running worker shows", .timeLimit(.minutes(4)))
struct ScrapeTests {
  @Test("Every documented series is there, and its value is what was produced")
  func values() async throws {
    let stage = try WorkerStage(partitions: 3)
    let events = try stage.produce(events: 500, seed: 11)
    for event in events.prefix(20) { try stage.produce(event.json) }
    for _ in 0..<7 { try stage.produce("{\"id\":") }
    for _ in 0..<5 { try stage.produce("{\"model\":\"m\",\"created_at\":\(stage.nowMs)}") }
    for _ in 0..<3 { try stage.produce(nil) }
    for _ in 0..<4 {
      try stage.produce("{\"session_id\":\"s\",\"model\":\"m\",\"created_at\":\(stage.nowMs)}")
    }
    try stage.flush()
    let total = 539.0
    try await stage.withWorker(["TELEMETRY_REFRESH_AFTER_EVENTS": "1"]) { worker in
      let scrape = try await worker.scrape(until: "all is stored, shown and refreshed") {
        $0.sum("consumer_committed_offset") == total && $0.sum("consumer_high_watermark_offset") == total
          && $0["refresh_pending_events"] == 0 && $0["buffer_events"] == 0
          && $0["last_successful_refresh_timestamp_seconds", ["view": domainView]] != nil
      }
      #expect(documented.subtracting(scrape.names) == [])

      let topic = ["topic": stage.topic]
      #expect(scrape["records_consumed_total", topic] == total)
      for (outcome, count) in [("stored", 504.0), ("duplicate", 20), ("dead_letter", 12), ("skipped", 3)] {
        let labels = topic.merging(["outcome": outcome]) { $1 }
        #expect(scrape["events_processed_total", labels] == count, "\(outcome)")
      }
      for (reason, count) in [("invalid_json", 7.0), ("missing_field", 5), ("too_long", 0)] {
        let labels = topic.merging(["reason": reason]) { $1 }
        #expect(scrape["dead_letters_total", labels] == count, "\(reason)")
      }
      #expect(scrape["event_repairs_total", ["kind": "missing_id"]] == 4)
      #expect(scrape["end_to_end_latency_seconds_count"] == 504)
      #expect(scrape["batch_events_sum"] == total)
      for stage in ["copy", "commit", "total"] {
        #expect((scrape["batch_write_duration_seconds_count", ["stage": stage]] ?? 0) >= 1, "\(stage)")
      }
      #expect(scrape["last_committed_event_timestamp_seconds"] == Double(stage.nowMs) / 1_000)

      for name in ["consumer_lag_records", "consumer_lag_seconds"] {
        #expect(scrape.partitions(name) == [0, 1, 2])
        #expect(scrape.sum(name) == 0)
      }
      #expect(scrape["consumer_assigned_partitions"] == 3)
      #expect(scrape["consumer_rebalances_total", ["event": "assigned"]] == 1)
      #expect(scrape["offset_gap_records_total"] == 0)
      #expect(scrape["buffer_bytes"] == 0)

      #expect(scrape["coordinator_leader"] == 1)
      for view in [domainView, modelView] {
        let refreshes = scrape.samples("refreshes_total").filter { $0.labels["view"] == view }
        #expect(refreshes.filter { $0.labels["result"] == "success" }.reduce(0) { $0 + $1.value } >= 1)
        #expect(refreshes.filter { $0.labels["result"] == "error" }.allSatisfy { $0.value == 0 })
        #expect(
          scrape["refresh_duration_seconds_count", ["view": view]] == refreshes.reduce(0) { $0 + $1.value })
        let logged = try stage.database.rows(
          """
          SELECT extract(epoch FROM max(finished_at)) FROM @.chat_telemetry_refresh_log
          WHERE view_name = '\(view)' AND status = 'SUCCESS'
          """)
        let shown = try #require(scrape["last_successful_refresh_timestamp_seconds", ["view": view]])
        #expect(abs(shown - (logged[0][0].flatMap { Double($0) } ?? 0)) < 1)
      }
      #expect(scrape.samples("build_info").map(\.value) == [1])
    }
  }

  @Test("promtool finds nothing wrong with it")
  func promtool() async throws {
    let stage = try WorkerStage(partitions: 2)
    try stage.produce(events: 50, seed: 3)
    try await stage.withWorker { worker in
      let scrape = try await worker.scrape(until: "all is stored") {
        $0.sum("consumer_committed_offset") == 50 && $0.sum("consumer_high_watermark_offset") == 50
      }
      let problems = try run("/usr/bin/promtool", ["check", "metrics"], input: scrape.text)
      #expect(problems.code == 0 && problems.output.isEmpty, "\(problems.output)")
    }
  }

  @Test("A worker that has just started shows the last refresh, though another one made it")
  func lastRefreshAfterStart() async throws {
    let stage = try WorkerStage(partitions: 1)
    let refreshed = try execute(["refresh"], environment: stage.environment)
    #expect(refreshed.code == 0, "\(refreshed.errors)")
    let logged = try stage.database.rows(
      "SELECT view_name, extract(epoch FROM max(finished_at)) FROM @.chat_telemetry_refresh_log GROUP BY 1")
    try await stage.withWorker(["TELEMETRY_REFRESH_SCHEDULE": ""]) { worker in
      let family = "last_successful_refresh_timestamp_seconds"
      let scrape = try await worker.scrape(until: "both times are shown") { $0.samples(family).count == 2 }
      for row in logged {
        let shown = try #require(scrape[family, ["view": row[0] ?? ""]])
        #expect(abs(shown - (row[1].flatMap { Double($0) } ?? 0)) < 0.001)
      }
      #expect(scrape.sum("refreshes_total") == 0)
    }
  }
}

/// Runs a program of the system to its end, with `input` as its standard input.
func run(_ path: String, _ arguments: [String], input: String) throws -> (code: Int32, output: String) {
  let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try Data(input.utf8).write(to: file)
  defer { try? FileManager.default.removeItem(at: file) }
  let process = Process()
  process.executableURL = URL(fileURLWithPath: path)
  process.arguments = arguments
  let output = Pipe()
  process.standardInput = try FileHandle(forReadingFrom: file)
  process.standardOutput = output
  process.standardError = output
  try process.run()
  let printed = output.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return (process.terminationStatus, String(decoding: printed, as: UTF8.self))
}
