import ArgumentParser
import Foundation
import Glibc

struct HealthCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "health",
    abstract: "Ask the worker on this machine whether it lives, for a container's health check.",
    discussion: """
      Reads http.host and http.port from the settings, asks /live and exits with 0 when the answer is 200; needs no \
      other program in the image.

      Example:
        telemetry-worker health
      """)

  @Flag(help: "Ask /ready instead of /live.")
  var ready = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let settings = try options.load()
    // A server that listens everywhere is reached at home.
    let everywhere = ["0.0.0.0": "127.0.0.1", "::": "::1"]
    let host = everywhere[settings.http.host] ?? settings.http.host
    let path = ready ? "/ready" : "/live"
    let answer = try HealthProbe(host: host, port: settings.http.port).status(of: path)
    guard answer == 200 else { throw CommandFailure("health: \(path) answered \(answer)") }
    Console.print("ok\n")
  }
}

/// The smallest HTTP client that can ask for a status.
struct HealthProbe {
  var host: String
  var port: Int
  private static let timeoutSeconds = 5

  /// The status code of a GET.
  func status(of path: String) throws -> Int {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &found) == 0, let address = found else {
      throw CommandFailure("health: \(host) is no address of this machine")
    }
    defer { freeaddrinfo(found) }
    let descriptor = socket(address.pointee.ai_family, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var timeout = timeval(tv_sec: Self.timeoutSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, size)
    guard connect(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 else {
      throw CommandFailure("health: nobody listens on \(host):\(port)")
    }
    let request = "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n"
    guard send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count else {
      throw CommandFailure("health: \(host):\(port) took no request")
    }
    var buffer = [UInt8](repeating: 0, count: 64)
    let received = recv(descriptor, &buffer, buffer.count, 0)
    // "HTTP/1.1 200 OK"
    let words = String(decoding: buffer.prefix(max(0, received)), as: UTF8.self).split(separator: " ")
    guard words.count > 1, let status = Int(words[1]) else {
      throw CommandFailure("health: \(host):\(port) gave no HTTP answer")
    }
    return status
  }
}
