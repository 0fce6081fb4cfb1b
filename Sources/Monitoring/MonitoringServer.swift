import FlyingFox
import FlyingSocks
import Foundation
import Logging

/// Why the monitoring server does not listen.
public enum MonitoringServerError: Error, Equatable, CustomStringConvertible {
  case unknownHost(String, reason: String)
  case cannotListen(host: String, port: UInt16, reason: String)

  public var description: String {
    switch self {
    case .unknownHost(let host, let reason):
      "http.host \"\(host)\" is no address of this machine: \(reason). "
        + "Give an IP address or name, such as 127.0.0.1 or 0.0.0.0 for all."
    case .cannotListen(let host, let port, let reason):
      "cannot listen on \(host) port \(port): \(reason). "
        + "Choose another http.host or http.port; port 0 takes any free one."
    }
  }
}

/// Serves `/metrics`, `/live`, `/ready`, the given endpoints and a start page that links them, over plain
/// HTTP.
public actor MonitoringServer {
  private let host: String
  private let port: UInt16
  private let router: Router
  private let logger: Logger
  private var serving: Task<Void, any Error>?
  private var stopped = false

  /// - Parameters:
  ///   - host: an address or name of this machine; `0.0.0.0` or `::` for every interface.
  ///   - port: 0 takes a free one; ``start()`` says which.
  ///   - title: heads the start page.
  ///   - endpoints: further paths, such as `/api/...`.
  public init(
    host: String, port: UInt16, title: String, metrics: MetricsRegistry, health: HealthState,
    endpoints: [HTTPEndpoint] = [], logger: Logger
  ) {
    self.host = host
    self.port = port
    self.logger = logger
    let linked = HTTPEndpoint.monitoring(metrics, health) + endpoints
    router = Router(
      endpoints: linked + [.startPage(title: title, linking: linked)], logger: logger)
  }

  /// Listens, and returns the port once connections are taken.
  /// - Throws: ``MonitoringServerError``; `CancellationError` when ``stop()`` was called, before or meanwhile, or the
  ///   task was cancelled.
  @discardableResult
  public func start() async throws -> UInt16 {
    guard !stopped else { throw CancellationError() }
    precondition(serving == nil, "the server runs already")
    let router = self.router
    let server = HTTPServer(
      config: try ListenAddress.configuration(host: host, port: port),
      handler: ClosureHTTPHandler { await router.reply(to: $0) })
    let serving = Task { try await Self.serve(server) }
    // Before anything is awaited: a stop that comes while the server begins to listen must find it.
    self.serving = serving
    do {
      try await Self.waitUntilListening(server, serving)
    } catch {
      serving.cancel()
      _ = await serving.result
      self.serving = nil
      if error is CancellationError { throw error }
      throw MonitoringServerError.cannotListen(host: host, port: port, reason: Self.reason(error))
    }
    let bound = await server.boundPort ?? port
    guard !stopped else { throw CancellationError() }
    logger.info("HTTP server listens", metadata: ["host": .string(host), "port": .number(bound)])
    return bound
  }

  /// Listens until the task is cancelled or ``stop()`` is called. A server that fails later, as when the
  /// process runs out of file descriptors, listens again: monitoring must not end before the work does.
  /// - Throws: ``MonitoringServerError`` when it cannot listen in the first place.
  public func run() async throws {
    do {
      try await start()
      while let failure = await servingFailure() {
        logger.error(
          "HTTP server failed; listening again in a second",
          metadata: ["reason": .string(Self.reason(failure))])
        try await Task.sleep(for: .seconds(1))
        do {
          try await start()
        } catch let error as MonitoringServerError {
          logger.error("HTTP server cannot listen again", metadata: ["reason": "\(error)"])
        }
      }
    } catch is CancellationError {
      // Someone asked for the end while it was not listening.
    }
    await stop()
  }

  /// Closes the listening socket and the connections; requests at work have a second to end. Returns within two
  /// seconds, whatever the endpoints do. For good: a server that only begins to listen, or does so later, ends too.
  public func stop() async {
    stopped = true
    serving?.cancel()
    _ = await serving?.result
  }

  /// Waits for the end of the server; nil when someone asked for it.
  private func servingFailure() async -> (any Error)? {
    var failure: any Error = SocketError.disconnected
    if let serving {
      let result = await withTaskCancellationHandler {
        await serving.result
      } onCancel: {
        serving.cancel()
      }
      failure = result.failure ?? failure
    }
    guard !Task.isCancelled, !stopped else { return nil }
    serving = nil
    return failure
  }

  /// Serves until the server fails or the task is cancelled.
  private static func serve(_ server: HTTPServer) async throws {
    let running = Task { try await server.run() }
    let (news, report) = AsyncThrowingStream<Never, any Error>.makeStream()
    Task { report.finish(throwing: await running.result.failure ?? SocketError.disconnected) }
    for try await _ in news {}
    // Cancelled.
    await end(server, running)
  }

  /// The server itself would wait for every request, also for one whose endpoint waits for a database that does not
  /// answer: such a request is left behind.
  private static func end(_ server: HTTPServer, _ running: Task<Void, any Error>) async {
    let (ending, ended) = AsyncStream<Never>.makeStream()
    Task {
      await server.stop(timeout: 1)
      // Of a server that does not listen yet, the stop knew nothing.
      running.cancel()
      _ = await running.result
      ended.finish()
    }
    Task {
      try await Task.sleep(for: .seconds(2))
      ended.finish()
    }
    // In a task of its own, as this one is cancelled and would not wait.
    await Task { for await _ in ending {} }.value
  }

  /// Throws at once when the server ends instead of listening, or when the task is cancelled.
  private static func waitUntilListening(_ server: HTTPServer, _ serving: Task<Void, any Error>) async throws
  {
    let (news, report) = AsyncThrowingStream<Void, any Error>.makeStream()
    let ending = Task {
      report.finish(throwing: await serving.result.failure ?? CancellationError())
    }
    let listening = Task {
      try await server.waitUntilListening(timeout: 60)
      report.yield()
    }
    defer {
      listening.cancel()
      ending.cancel()
    }
    for try await _ in news { return }
    throw CancellationError()
  }

  private static func reason(_ error: any Error) -> String {
    if case .failed(_, _, let message)? = error as? SocketError { return message }
    return "\(error)"
  }
}

extension Result {
  fileprivate var failure: Failure? {
    if case .failure(let error) = self { error } else { nil }
  }
}

extension HTTPServer {
  /// The port the server listens on; nil when it does not.
  fileprivate var boundPort: UInt16? {
    switch listeningAddress {
    case .ip4(_, let port), .ip6(_, let port): port
    case .unix, nil: nil
    }
  }
}
