/// What an endpoint answers.
public struct HTTPReply: Equatable, Sendable {
  public var status: Int
  public var contentType: String
  public var body: String

  public init(status: Int = 200, contentType: String, body: String) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  public static func text(_ body: String, status: Int = 200) -> HTTPReply {
    HTTPReply(status: status, contentType: "text/plain; charset=utf-8", body: body)
  }

  /// `body` must be JSON already.
  public static func json(_ body: String, status: Int = 200) -> HTTPReply {
    HTTPReply(status: status, contentType: "application/json", body: body)
  }

  public static func html(_ body: String, status: Int = 200) -> HTTPReply {
    HTTPReply(status: status, contentType: "text/html; charset=utf-8", body: body)
  }
}

/// One path of the monitoring server, read with GET or HEAD.
public struct HTTPEndpoint: Sendable {
  /// Exact, from the leading slash on, such as `/api/domains`.
  public let path: String
  /// What the start page says of it.
  public let title: String
  /// Takes the decoded query; of a name given twice the last value counts. Runs concurrently with itself;
  /// when it throws, the client gets 500 without the error's words, which go to the log.
  public let answer: @Sendable (_ query: [String: String]) async throws -> HTTPReply

  public init(
    path: String, title: String,
    answer: @escaping @Sendable (_ query: [String: String]) async throws -> HTTPReply
  ) {
    precondition(path.hasPrefix("/"), "a path begins with a slash: \(path)")
    self.path = path
    self.title = title
    self.answer = answer
  }
}

extension HTTPEndpoint {
  /// `/metrics`, `/live` and `/ready`.
  static func monitoring(_ metrics: MetricsRegistry, _ health: HealthState) -> [HTTPEndpoint] {
    [
      HTTPEndpoint(path: "/metrics", title: "Metrics for Prometheus") { _ in
        HTTPReply(contentType: ExpositionText.contentType, body: metrics.render())
      },
      HTTPEndpoint(path: "/live", title: "Is the process alive?") { _ in
        healthReply(health.failures, good: "live", bad: "failed")
      },
      HTTPEndpoint(path: "/ready", title: "Is it connected and at work?") { _ in
        healthReply(health.obstacles, good: "ready", bad: "not_ready")
      },
    ]
  }

  /// `{"status":"not_ready","reasons":{"kafka":"no broker answers"}}`
  private static func healthReply(_ reasons: [String: String], good: String, bad: String) -> HTTPReply {
    var body = "{\"status\":\"\(reasons.isEmpty ? good : bad)\",\"reasons\":{"
    for (index, (name, reason)) in reasons.sorted(by: { $0.key < $1.key }).enumerated() {
      if index > 0 { body += "," }
      JSONLine.append(name, to: &body)
      body += ":"
      JSONLine.append(reason, to: &body)
    }
    return .json(body + "}}\n", status: reasons.isEmpty ? 200 : 503)
  }

  /// `/`: links to every other path.
  static func startPage(title: String, linking endpoints: [HTTPEndpoint]) -> HTTPEndpoint {
    let links = endpoints.map { endpoint in
      let path = escapedHTML(endpoint.path)
      return "<li><a href=\"\(path)\">\(path)</a> \(escapedHTML(endpoint.title))</li>"
    }
    let page = """
      <!DOCTYPE html>
      <html lang="en">
      <head><meta charset="utf-8"><title>\(escapedHTML(title))</title></head>
      <body>
      <h1>\(escapedHTML(title))</h1>
      <ul>
      \(links.joined(separator: "\n"))
      </ul>
      </body>
      </html>

      """
    return HTTPEndpoint(path: "/", title: title) { _ in .html(page) }
  }

  private static func escapedHTML(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
