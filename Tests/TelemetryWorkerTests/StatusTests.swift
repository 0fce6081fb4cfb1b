import Foundation
import Postgres
import TestSupport
import Testing

/// A port at which nobody listens.
private let nowhere = "127.0.0.1:1"

@Suite("The commands that look at a worker from outside", .timeLimit(.minutes(4)))
struct StatusTests {
  private struct Status: Decodable {
    var positions: [Position]
    var views: [View]
    var coordinator: Coordinator?
    var deadLetters: [DeadLetters]
    var brokerError: String?

    struct Position: Decodable {
      var consumerGroup: String?
      var topic: String
      var partition: Int
      var nextOffset: Int
      var endOffset: Int?
      var lagRecords: Int?
      var lagSeconds: Double?
    }
    struct Coordinator: Decodable { var holder: String }
    struct DeadLetters: Decodable {
      var reason: String
      var unresolved: Int
    }
  }

  private struct View: Decodable {
    var name: String
    var rows: Int
    var pendingEvents: Int
    var ageSeconds: Double?
    var stale: Bool
  }

  private func decode<Value: Decodable>(_ type: Value.Type, _ execution: Execution) throws -> Value {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: execution.output)
  }

  /// Stores what was produced, refreshing nothing, and stops.
  private func store(_ stage: WorkerStage, positions: Int) async throws {
    try await stage.withWorker(arguments: ["--role", "consumer"]) { worker in
      try await worker.scrape(until: "all is stored") {
        $0.sum("consumer_committed_offset") == Double(positions)
      }
    }
  }

  @Test("status tells positions, lag, views, who coordinates and dead letters, as JSON and as tables")
  func status() async throws {
    let stage = try WorkerStage(partitions: 2)
    try stage.produce(events: 60, seed: 31, partition: 0)
    for _ in 0..<3 { try stage.produce("null", partition: 1) }
    try stage.flush()
    try await store(stage, positions: 63)
    try stage.produce(events: 25, seed: 32, partition: 1)

    let json = try execute(["status", "--json"], environment: stage.environment)
    #expect(json.code == 0 && json.errors.isEmpty, "\(json.errors)")
    let status = try decode(Status.self, json)
    #expect(status.positions.map(\.topic) == [stage.topic, stage.topic])
    #expect(status.positions.map(\.nextOffset) == [60, 3])
    #expect(status.positions.map(\.endOffset) == [60, 28])
    #expect(status.positions.map(\.lagRecords) == [0, 25])
    #expect(status.positions[0].lagSeconds == 0)
    #expect(try #require(status.positions[1].lagSeconds) > 0)
    #expect(status.views.map(\.pendingEvents) == [60, 60])
    #expect(status.views.allSatisfy { $0.stale && $0.rows == 0 })
    #expect(status.coordinator == nil)
    #expect(status.deadLetters.map(\.reason) == ["not_an_object"])
    #expect(status.deadLetters.map(\.unresolved) == [3])
    #expect(status.brokerError == nil)

    let text = try execute(["status"], environment: stage.environment)
    #expect(text.code == 0)
    let lines = String(decoding: text.output, as: UTF8.self).split(separator: "\n").map(String.init)
    #expect(
      lines.contains { $0.wholeMatch(of: /test +chat-telemetry +1 +3 +28 +25 +\d+ */) != nil }, "\(lines)")
    #expect(lines.contains { $0.wholeMatch(of: /chat_telemetry_domain_summary.* never .* stale */) != nil })
    #expect(lines.contains("Coordinator: nobody holds the lease"))
    #expect(lines.contains { $0.wholeMatch(of: /not_an_object +3 +3 */) != nil })
  }

  @Test("A running worker is named as the coordinator, over HTTP too")
  func coordinator() async throws {
    let stage = try WorkerStage(partitions: 1)
    try await stage.withWorker { worker in
      try await worker.scrape(until: "it coordinates") { $0["coordinator_leader"] == 1 }
      let status = try decode(Status.self, execute(["status", "--json"], environment: stage.environment))
      let holder = try #require(status.coordinator).holder
      #expect(holder.contains("/\(worker.pid)/"))
      #expect(try await worker.ask("/api/status").body.contains("\"holder\" : \"\(holder)\""))
    }
    // A worker that was asked to stop gives its lease up.
    let after = try decode(Status.self, execute(["status", "--json"], environment: stage.environment))
    #expect(after.coordinator == nil)
  }

  @Test("With the brokers away, status tells everything but ends and lag, says so, and succeeds")
  func brokersAway() async throws {
    let stage = try WorkerStage(partitions: 1)
    try stage.produce(events: 5, seed: 33)
    try await store(stage, positions: 5)
    let environment = stage.environment.merging(["TELEMETRY_KAFKA_BROKERS": nowhere]) { $1 }
    let json = try execute(["status", "--json"], environment: environment)
    #expect(json.code == 0)
    let status = try decode(Status.self, json)
    #expect(status.positions.map(\.nextOffset) == [5])
    #expect(status.positions[0].lagRecords == nil && status.positions[0].endOffset == nil)
    #expect(status.brokerError != nil && status.views.count == 2)
    let text = try execute(["status"], environment: environment)
    #expect(text.code == 0 && String(decoding: text.output, as: UTF8.self).contains("(no ends and no lag: "))
  }

  @Test("refresh --check exits with 1 while a view is stale and with 0 while all are fresh, brokers or not")
  func check() async throws {
    let stage = try WorkerStage(partitions: 1)
    let environment = stage.environment.merging(["TELEMETRY_KAFKA_BROKERS": nowhere]) { $1 }
    func check(_ more: String...) throws -> (code: Int32, views: [View], errors: String) {
      let execution = try execute(["refresh", "--check", "--json"] + more, environment: environment)
      return (execution.code, try decode([View].self, execution), execution.errors)
    }
    let never = try check()
    #expect(never.code == 1 && never.views.map(\.stale) == [true, true])
    #expect(never.errors.contains("stale: chat_telemetry_domain_summary, chat_telemetry_model_summary"))

    let refreshed = try execute(["refresh", "--json"], environment: environment)
    #expect(refreshed.code == 0)
    struct Row: Decodable {
      var viewName: String
      var refreshTimeMs: Double
      var status: String
    }
    let rows = try decode([Row].self, refreshed)
    #expect(rows.map(\.viewName) == ["chat_telemetry_domain_summary", "chat_telemetry_model_summary"])
    #expect(rows.allSatisfy { $0.status == "SUCCESS" && $0.refreshTimeMs > 0 })
    let fresh = try check()
    #expect(fresh.code == 0 && fresh.errors.isEmpty && fresh.views.map(\.stale) == [false, false])

    // Events that wait make a view stale once it is older than it may be.
    try stage.produce(events: 30, seed: 34)
    try await store(stage, positions: 30)
    let waiting = try check("--max-age", "24h")
    #expect(waiting.code == 0 && waiting.views.map(\.pendingEvents) == [30, 30])
    try await eventually("the views are older than a second") { try check("--max-age", "1s").code == 1 }

    // One view can be refreshed by itself.
    let one = try execute(
      ["refresh", "--view", "chat_telemetry_model_summary"], environment: environment)
    #expect(one.code == 0)
    let text = String(decoding: one.output, as: UTF8.self)
    #expect(text.contains("chat_telemetry_model_summary") && text.contains("SUCCESS"))
    #expect(!text.contains("chat_telemetry_domain_summary"))
    #expect(try check("--max-age", "1s", "--view", "chat_telemetry_model_summary").code == 0)
    let other = try check("--max-age", "1s", "--view", "chat_telemetry_domain_summary")
    #expect(other.code == 1 && other.views.map(\.pendingEvents) == [30])
    let table = try execute(["refresh", "--check", "--max-age", "1s"], environment: environment)
    #expect(table.code == 1)
    let verdicts = String(decoding: table.output, as: UTF8.self).split(separator: "\n").dropFirst(2)
      .compactMap { $0.split(separator: " ").last }
    #expect(verdicts == ["stale", "fresh"])
  }

  @Test(
    "With the database away, every command that needs it fails with 1 and names the address",
    arguments: ["status", "refresh"])
  func databaseAway(command: String) throws {
    let result = try execute(
      [command, "--json"], environment: ["TELEMETRY_POSTGRES_URL": "postgresql://nobody:hidden@\(nowhere)/x"])
    #expect(result.code == 1 && result.output.isEmpty)
    #expect(result.errors.contains("port 1") && !result.errors.contains("hidden"), "\(result.errors)")
  }

  @Test(
    "health says how the worker is: 0 when all is well, 1 with the reasons when not, 1 when nobody answers")
  func health() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try WorkerStage(partitions: 1, on: server)
    try await stage.withWorker(["TELEMETRY_HTTP_HOST": "0.0.0.0"]) { worker in
      func health(_ more: String...) throws -> Execution {
        try execute(
          ["health"] + more,
          environment: ["TELEMETRY_HTTP_HOST": "0.0.0.0", "TELEMETRY_HTTP_PORT": "\(worker.port)"])
      }
      try await eventually("the worker is ready") { try health("--ready").code == 0 }
      let live = try health()
      #expect(live.code == 0 && live.output == Data("ok\n".utf8) && live.errors.isEmpty)
      try server.stop()
      try await eventually("the worker is not ready") { try health("--ready").code == 1 }
      #expect(try health("--ready").errors.contains("/ready answered 503: {\"status\":\"not_ready\""))
      // A container must not be restarted because the database is.
      #expect(try health().code == 0)
      try server.start()
    }
    let nobody = try execute(["health"], environment: ["TELEMETRY_HTTP_PORT": "\(try freePort())"])
    #expect(nobody.code == 1 && nobody.errors.contains("nobody listens on 127.0.0.1:"))
  }
}
