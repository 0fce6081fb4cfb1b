import Foundation
import Logging
import TestSupport
import Testing

@testable import Monitoring

/// A running server and its port.
private struct Running {
  let server: MonitoringServer
  let port: UInt16
  let health = HealthState(awaiting: ["kafka", "postgres"])
  let metrics = WorkerMetrics(version: "1.0.0")
  let log = LogRecorder()

  init(endpoints: [HTTPEndpoint] = []) async throws {
    server = MonitoringServer(
      host: "127.0.0.1", port: 0, title: "worker", metrics: metrics.registry, health: health,
      endpoints: endpoints, logger: log.logger())
    port = try await server.start()
  }
}

@Suite("The monitoring server", .timeLimit(.minutes(1)))
struct HTTPTests {
  @Test("/metrics is the exposition with Prometheus' content type")
  func metrics() async throws {
    let running = try await Running()
    let answer = try await ask("/metrics", port: running.port)
    #expect(answer.status == 200)
    #expect(answer.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
    #expect(try ExpositionParser(answer.body).value("telemetry_worker_build_info", ["version": "1.0.0"]) == 1)
    await running.server.stop()
  }

  @Test("/ready is 503 with every reason as JSON until each condition is ok, and again when one is lost")
  func ready() async throws {
    let running = try await Running()
    running.health.report("postgres", .notReady("connection \"refused\"\n"))
    var answer = try await ask("/ready", port: running.port)
    #expect(answer.status == 503)
    #expect(answer.headers["content-type"] == "application/json")
    let object = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
    #expect(
      object?["reasons"] as? [String: String] == [
        "kafka": "starting", "postgres": "connection \"refused\"\n",
      ])

    running.health.report("postgres", .ok)
    running.health.report("kafka", .ok)
    answer = try await ask("/ready", port: running.port)
    #expect(answer.status == 200)
    running.health.report("kafka", .notReady("no broker answers"))
    #expect(try await ask("/ready", port: running.port).status == 503)
    #expect(try await ask("/live", port: running.port).status == 200)
    await running.server.stop()
  }

  @Test("/live is 503 only once a part has failed beyond recovery")
  func live() async throws {
    let running = try await Running()
    #expect(try await ask("/live", port: running.port).status == 200)
    running.health.report("kafka", .failed("fatal client error"))
    let answer = try await ask("/live", port: running.port)
    #expect(answer.status == 503 && answer.body.contains("fatal client error"))
    await running.server.stop()
  }

  @Test("further endpoints answer with their query decoded, and the start page links them all")
  func endpoints() async throws {
    let echo = HTTPEndpoint(path: "/api/echo", title: "Says <it> again") { query in
      .json("{\"word\":\"\(query["word"] ?? "")\"}")
    }
    let running = try await Running(endpoints: [echo])
    let answer = try await ask("/api/echo?word=a%20b&other=1&word=c%26d", port: running.port)
    #expect(answer.status == 200 && answer.body == "{\"word\":\"c&d\"}")
    let page = try await ask("/", port: running.port)
    for path in ["/metrics", "/live", "/ready", "/api/echo"] {
      #expect(page.body.contains("<a href=\"\(path)\">"), "\(path)")
    }
    #expect(page.body.contains("Says &lt;it&gt; again"))
    await running.server.stop()
  }

  @Test("an endpoint that throws is a 500 whose words are in the log only")
  func failingEndpoint() async throws {
    struct Secret: Error {}
    let failing = HTTPEndpoint(path: "/api/fails", title: "") { _ in throw Secret() }
    let running = try await Running(endpoints: [failing])
    let answer = try await ask("/api/fails", port: running.port)
    #expect(answer.status == 500 && !answer.body.contains("Secret"))
    #expect(running.log.lines.contains { $0.contains("Secret") && $0.contains("/api/fails") })
    await running.server.stop()
  }

  @Test("HEAD has GET's headers and no body; other methods and paths are refused by name")
  func methodsAndPaths() async throws {
    let running = try await Running()
    let get = try await ask("/", port: running.port)
    let head = try await ask("/", port: running.port, method: "HEAD")
    #expect(head.status == 200 && head.body.isEmpty)
    #expect(head.headers["content-length"] == String(get.body.utf8.count))
    let post = try await ask("/metrics", port: running.port, method: "POST")
    #expect(post.status == 405 && post.headers["allow"] == "GET, HEAD")
    #expect(try await ask("/metrics/x", port: running.port).status == 404)
    #expect(try await ask("/../etc/passwd", port: running.port).status == 404)
    await running.server.stop()
  }

  @Test("clients that talk nonsense, hang up or scrape all at once do not disturb the others")
  func roughClients() async throws {
    let running = try await Running()
    for nonsense in [
      "\r\n\r\n", "GET\r\n\r\n", "\u{0}\u{1}\r\n\r\n", "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ] {
      let request = Task { try? await exchange(nonsense, port: running.port) }
      _ = await request.value
    }
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<40 { group.addTask { try await ask("/metrics", port: running.port).status } }
      for try await status in group { #expect(status == 200) }
    }
    await running.server.stop()
  }

  @Test("a port in use is a typed error that names host, port and what to do")
  func portInUse() async throws {
    let running = try await Running()
    let second = MonitoringServer(
      host: "127.0.0.1", port: running.port, title: "", metrics: running.metrics.registry,
      health: running.health, logger: running.log.logger())
    let error = await #expect(throws: MonitoringServerError.self) { try await second.start() }
    #expect(
      error == .cannotListen(host: "127.0.0.1", port: running.port, reason: "Address already in use"))
    #expect(error?.description.contains("http.port") == true)
    await running.server.stop()
  }

  @Test("a host that is none is a typed error that names it")
  func unknownHost() async throws {
    for host in ["no such host", "999.1.1.1"] {
      let server = MonitoringServer(
        host: host, port: 0, title: "", metrics: MetricsRegistry(), health: HealthState(),
        logger: LogRecorder().logger())
      let error = await #expect(throws: MonitoringServerError.self) { try await server.start() }
      #expect(error?.description.contains("\"\(host)\"") == true)
    }
  }

  @Test("after stop the port is free again, and run ends")
  func stopFreesThePort() async throws {
    let running = try await Running()
    await running.server.stop()
    await #expect(throws: (any Error).self) { try await ask("/live", port: running.port) }
    let again = MonitoringServer(
      host: "127.0.0.1", port: running.port, title: "", metrics: running.metrics.registry,
      health: running.health, logger: running.log.logger())
    let run = Task { try await again.run() }
    try await eventually("an answer on the same port") {
      (try? await ask("/live", port: running.port)) != nil
    }
    try await ends("stop and run") {
      await again.stop()
      try await run.value
    }
  }

  @Test("a stop that comes before the server listens, or while it begins to, ends it as well")
  func earlyStop() async throws {
    try await ends("every server") {
      try await withThrowingTaskGroup { group in
        // The more patient, the further the server has come.
        for patience in 0..<200 {
          let server = Self.server()
          let run = Task { try await server.run() }
          for _ in 0..<patience { await Task.yield() }
          group.addTask {
            await server.stop()
            try await run.value
          }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test("an endpoint that never answers does not hold up a stop")
  func stuckEndpoint() async throws {
    let (asked, arrival) = AsyncStream<Void>.makeStream()
    let (released, release) = AsyncStream<Never>.makeStream()
    let stuck = HTTPEndpoint(path: "/api/stuck", title: "") { _ in
      arrival.yield()
      // A task of its own heeds no cancellation, like a query that blocks its thread.
      await Task { for await _ in released {} }.value
      return .text("")
    }
    defer { release.finish() }
    let running = try await Running(endpoints: [stuck])
    let client = Task { try? await ask("/api/stuck", port: running.port) }
    try await ends("the request's way to the endpoint") { for await _ in asked { return } }
    try await ends("stop") { await running.server.stop() }
    release.finish()
    _ = await client.value
  }

  @Test("cancelling the task that runs the server stops it")
  func cancellation() async throws {
    let log = LogRecorder()
    let server = Self.server(log)
    let run = Task { try await server.run() }
    try await eventually("word that it listens") { !log.lines.isEmpty }
    run.cancel()
    try await ends("run") { try await run.value }
  }

  private static func server(_ log: LogRecorder = LogRecorder()) -> MonitoringServer {
    MonitoringServer(
      host: "localhost", port: 0, title: "", metrics: MetricsRegistry(), health: HealthState(),
      logger: log.logger())
  }
}
