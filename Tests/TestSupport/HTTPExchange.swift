import Foundation

/// What came back over the wire.
public struct HTTPAnswer: Sendable {
  public var status: Int
  /// By their names in lower case.
  public var headers: [String: String]
  public var body: String
}

/// Nobody answered, or not in HTTP.
public struct NoAnswer: Error {}

/// Sends bytes to a port of 127.0.0.1 and reads until the server closes. On a thread of its own: blocking in a task
/// could take the thread the server needs. Who is silent for 30 seconds has no more to say.
public func exchange(_ request: String, port: UInt16) async throws -> String {
  try await Background { try blockingExchange(request, port: port) }.value
}

private func blockingExchange(_ request: String, port: UInt16) throws -> String {
  let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(file) }
  var limit = timeval(tv_sec: 30, tv_usec: 0)
  for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
    setsockopt(file, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
  }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  let connected = withUnsafePointer(to: address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      connect(file, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
    }
  }
  guard connected == 0, send(file, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count
  else {
    throw NoAnswer()
  }
  var received: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65_536)
  while case let count = recv(file, &buffer, buffer.count, 0), count > 0 { received += buffer[..<count] }
  return String(decoding: received, as: UTF8.self)
}

/// One request to a port of 127.0.0.1. A body in chunks is not put together.
public func ask(_ path: String, port: UInt16, method: String = "GET") async throws -> HTTPAnswer {
  let request = "\(method) \(path) HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
  let text = try await exchange(request, port: port)
  let parts = text.components(separatedBy: "\r\n\r\n")
  let head = parts[0].components(separatedBy: "\r\n")
  guard head[0].hasPrefix("HTTP/1."), let status = Int(head[0].split(separator: " ")[1]) else {
    throw NoAnswer()
  }
  var headers: [String: String] = [:]
  for line in head.dropFirst() {
    let pair = line.split(separator: ":", maxSplits: 1)
    headers[pair[0].lowercased()] = pair[1].trimmingCharacters(in: .whitespaces)
  }
  return HTTPAnswer(
    status: status, headers: headers, body: parts.dropFirst().joined(separator: "\r\n\r\n"))
}

/// A port of 127.0.0.1 that nobody listens on now.
public func freePort() throws -> UInt16 {
  let file = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(file) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let isBound = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(file, $0, length) == 0 && getsockname(file, $0, &length) == 0
    }
  }
  guard isBound else { throw NoAnswer() }
  return UInt16(bigEndian: address.sin_port)
}
