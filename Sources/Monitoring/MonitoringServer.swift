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
  private var server: HTTPServer?
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
  /// - Throws: ``MonitoringServerError``.
  @discardableResult
  public func start() async throws -> UInt16 {
    precondition(serving == nil, "the server runs already")
    let router = self.router
    let server = HTTPServer(
      config: try ListenAddress.configuration(host: host, port: port),
      handler: ClosureHTTPHandler { await router.reply(to: $0) })
    let serving = Task { try await server.run() }
    do {
      try await Self.waitUntilListening(server, serving)
    } catch {
      serving.cancel()
      throw MonitoringServerError.cannotListen(host: host, port: port, reason: Self.reason(error))
    }
    self.server = server
    self.serving = serving
    let bound = await server.boundPort ?? port
    logger.info("HTTP server listens", metadata: ["host": .string(host), "port": .number(bound)])
    return bound
  }

  /// Listens until the task is cancelled or ``stop()`` is called. A server that fails later, as when the
  /// process runs out of file descriptors, listens again: monitoring must not end before the work does.
  /// - Throws: ``MonitoringServerError`` when it cannot listen in the first place.
  public func run() async throws {
    try await start()
    while let failure = await servingFailure() {
      logger.error(
        "HTTP server failed; listening again in a second", metadata: ["reason": .string(Self.reason(failure))]
      )
      try? await Task.sleep(for: .seconds(1))
      guard !Task.isCancelled, !stopped else { break }
      do {
        try await start()
      } catch {
        logger.error("HTTP server cannot listen again", metadata: ["reason": "\(error)"])
      }
    }
    await stop()
  }

  /// Closes the listening socket and the connections; requests at work have a second to end. For good.
  public func stop() async {
    stopped = true
    guard let server else { return }
    self.server = nil
    await server.stop(timeout: 1)
    serving = nil
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
    server = nil
    return failure
  }

  /// Throws at once when the server ends instead of listening.
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
