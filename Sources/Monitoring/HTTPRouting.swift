import FlyingFox
import FlyingSocks
import Foundation
import Logging

/// Finds the endpoint of a request and makes its answer a response.
struct Router: Sendable {
  private let endpoints: [String: HTTPEndpoint]
  private let logger: Logger

  init(endpoints: [HTTPEndpoint], logger: Logger) {
    self.endpoints = Dictionary(endpoints.map { ($0.path, $0) }) { first, _ in
      preconditionFailure("two endpoints have the path \(first.path)")
    }
    self.logger = logger
  }

  func reply(to request: HTTPRequest) async -> HTTPResponse {
    guard let endpoint = endpoints[request.path] else {
      return response(.text("not found; / lists what there is\n", status: 404), to: request)
    }
    guard request.method == .GET || request.method == .HEAD else {
      var refusal = response(.text("only GET and HEAD are allowed\n", status: 405), to: request)
      refusal.headers[HTTPHeader("Allow")] = "GET, HEAD"
      return refusal
    }
    let query = Dictionary(request.query.map { ($0.name, $0.value) }) { _, last in last }
    do {
      return response(try await endpoint.answer(query), to: request)
    } catch {
      logger.error("HTTP request failed", metadata: ["path": .string(endpoint.path), "reason": "\(error)"])
      return response(.json("{\"error\":\"internal error; the log says more\"}\n", status: 500), to: request)
    }
  }

  private func response(_ reply: HTTPReply, to request: HTTPRequest) -> HTTPResponse {
    let body = Data(reply.body.utf8)
    return HTTPResponse(
      statusCode: HTTPStatusCode(reply.status, phrase: Self.phrase(reply.status)),
      headers: [
        .contentType: reply.contentType,
        .contentLength: String(body.count),
        .cacheControl: "no-store",
        HTTPHeader("X-Content-Type-Options"): "nosniff",
      ],
      // The answer to HEAD has the headers of GET and no body (RFC 9110, 9.3.2).
      body: request.method == .HEAD ? Data() : body)
  }

  private static func phrase(_ status: Int) -> String {
    switch status {
    case 200: "OK"
    case 400: "Bad Request"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 500: "Internal Server Error"
    case 503: "Service Unavailable"
    default: "Status \(status)"
    }
  }
}

/// Turns a host and port into what the HTTP server binds.
enum ListenAddress {
  /// - Throws: ``MonitoringServerError/unknownHost(_:reason:)``.
  static func configuration(host: String, port: UInt16) throws(MonitoringServerError)
    -> HTTPServer.Configuration
  {
    let address = try numericAddress(of: host)
    do {
      return address.contains(":")
        ? configuration(try sockaddr_in6.inet6(ip6: address, port: port))
        : configuration(try sockaddr_in.inet(ip4: address, port: port))
    } catch {
      throw .unknownHost(host, reason: "\(error)")
    }
  }

  private static func configuration(_ address: some SocketAddress) -> HTTPServer.Configuration {
    HTTPServer.Configuration(address: address, logger: .disabled)
  }

  /// The first address the name stands for.
  private static func numericAddress(of host: String) throws(MonitoringServerError) -> String {
    var hints = addrinfo()
    hints.ai_flags = AI_PASSIVE
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, nil, &hints, &found)
    defer { freeaddrinfo(found) }
    guard status == 0, let first = found?.pointee else {
      throw .unknownHost(host, reason: String(cString: gai_strerror(status)))
    }
    var name = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    let named = getnameinfo(
      first.ai_addr, first.ai_addrlen, &name, socklen_t(name.count), nil, 0, NI_NUMERICHOST)
    guard named == 0 else { throw .unknownHost(host, reason: String(cString: gai_strerror(named))) }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
