import Foundation
import TestSupport
import Testing

/// What the README promises of monitoring, with the real thing: Debian's package `prometheus`, which deploy/test
/// installs. Without it the test fails; a scrape that nobody made shows nothing.
@Suite("A real Prometheus", .timeLimit(.minutes(3)))
struct PrometheusTests {
  @Test("It scrapes a worker and answers queries with what was produced")
  func scrapesAndAnswers() async throws {
    let stage = try WorkerStage(partitions: 2)
    try stage.produce(events: 300, seed: 21)
    try stage.produce("[]")
    try stage.flush()
    try await stage.withWorker(["TELEMETRY_REFRESH_AFTER_EVENTS": "1"]) { worker in
      try await worker.scrape(until: "all is stored and refreshed") {
        $0.sum("consumer_committed_offset") == 301 && $0["refresh_pending_events"] == 0
          && !$0.samples("consumer_lag_seconds").isEmpty
      }
      let prometheus = try await RunningPrometheus(scraping: worker.port)
      defer { prometheus.stop() }
      try await eventually("Prometheus has scraped the worker") {
        try await prometheus.values("up{job=\"telemetry-worker\"}") == [1]
      }
      for (query, expected) in [
        ("sum(telemetry_worker_events_processed_total{outcome=\"stored\"})", 300.0),
        ("sum by (reason) (telemetry_worker_dead_letters_total{reason=\"not_an_object\"})", 1),
        ("sum(telemetry_worker_consumer_lag_records{topic=\"chat-telemetry\"})", 0),
        ("count(telemetry_worker_consumer_lag_records)", 2),
        ("max(telemetry_worker_consumer_lag_seconds)", 0),
        ("sum(telemetry_worker_coordinator_leader)", 1),
        ("telemetry_worker_end_to_end_latency_seconds_bucket{le=\"+Inf\"}", 300),
        ("count(telemetry_worker_last_successful_refresh_timestamp_seconds < time() + 60)", 2),
        ("telemetry_worker_build_info", 1),
      ] {
        #expect(try await prometheus.values(query) == [expected], "\(query)")
      }
      // What an alert on a growing lag or a slow worker would ask.
      let p99 = try await prometheus.values(
        "histogram_quantile(0.99, sum by (le) (telemetry_worker_batch_write_duration_seconds_bucket{stage=\"total\"}))"
      )
      #expect(p99.count == 1 && p99.allSatisfy { $0 > 0 })
    }
  }
}

/// Prometheus with a configuration and a folder of its own, on a free port of 127.0.0.1.
private final class RunningPrometheus {
  private let process = Process()
  private let folder: URL
  private let port: UInt16

  init(scraping target: UInt16) async throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("prometheus-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    port = try freePort()
    let configuration = """
      global: {scrape_interval: 500ms, scrape_timeout: 500ms}
      scrape_configs:
        - {job_name: telemetry-worker, static_configs: [{targets: ["127.0.0.1:\(target)"]}]}
      """
    let file = folder.appendingPathComponent("prometheus.yml")
    try Data(configuration.utf8).write(to: file)
    let log = folder.appendingPathComponent("log")
    try Data().write(to: log)
    process.executableURL = URL(fileURLWithPath: "/usr/bin/prometheus")
    process.arguments = [
      "--config.file=\(file.path)", "--storage.tsdb.path=\(folder.appendingPathComponent("data").path)",
      "--web.listen-address=127.0.0.1:\(port)",
    ]
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: log)
    try process.run()
    do {
      try await eventually("Prometheus is ready") {
        guard process.isRunning else {
          throw TimedOut(what: (try? String(contentsOf: log, encoding: .utf8)) ?? "a log of Prometheus")
        }
        return (try? await ask("/-/ready", port: port).status) == 200
      }
    } catch {
      stop()
      throw error
    }
  }

  func stop() {
    process.terminate()
    process.waitUntilExit()
    try? FileManager.default.removeItem(at: folder)
  }

  private struct Reply: Decodable {
    var status: String
    var data: Body

    struct Body: Decodable { var result: [Series] }
    struct Series: Decodable { var value: Value }
    /// A time and a number as text.
    struct Value: Decodable {
      var number: Double

      init(from decoder: any Decoder) throws {
        var pair = try decoder.unkeyedContainer()
        _ = try pair.decode(Double.self)
        number = Double(try pair.decode(String.self)) ?? .nan
      }
    }
  }

  /// What an instant query gives: a number for each series.
  func values(_ query: String) async throws -> [Double] {
    let escaped = query.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    let answer = try await ask("/api/v1/query?query=\(escaped)", port: port)
    return try JSONDecoder().decode(Reply.self, from: Data(answer.body.utf8)).data.result.map(\.value.number)
  }
}
