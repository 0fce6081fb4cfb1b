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
    let answer = try HealthProbe(host: host, port: settings.http.port).ask(path)
    guard answer.status == 200 else {
      throw CommandFailure("health: \(path) answered \(answer.status): \(answer.body)")
    }
    Console.print("ok\n")
  }
}

/// The smallest HTTP client that can ask how a worker is.
struct HealthProbe {
  var host: String
  var port: Int
  private static let timeoutSeconds = 5
  private static let longestAnswer = 16_384

  /// A GET's status code and what came with it.
  func ask(_ path: String) throws -> (status: Int, body: String) {
    let descriptor = try connected()
    defer { close(descriptor) }
    let request = "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n"
    guard send(descriptor, request, request.utf8.count, Int32(MSG_NOSIGNAL)) == request.utf8.count else {
      throw CommandFailure("health: \(host):\(port) took no request")
    }
    let answer = everything(from: descriptor)
    // "HTTP/1.1 200 OK"
    let words = answer.prefix { $0 != "\r\n" }.split(separator: " ")
    guard words.count > 1, words[0].hasPrefix("HTTP/"), let status = Int(words[1]) else {
      throw CommandFailure("health: \(host):\(port) gave no HTTP answer within \(Self.timeoutSeconds) s")
    }
    let body = answer.firstRange(of: "\r\n\r\n").map { String(answer[$0.upperBound...]) } ?? ""
    return (status, body.trimmed)
  }

  private func connected() throws -> Int32 {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var found: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &found) == 0, let address = found else {
      throw CommandFailure("health: \(host) is no address of this machine")
    }
    defer { freeaddrinfo(found) }
    let descriptor = socket(address.pointee.ai_family, Int32(SOCK_STREAM.rawValue), 0)
    var timeout = timeval(tv_sec: Self.timeoutSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &timeout, size)
    guard connect(descriptor, address.pointee.ai_addr, address.pointee.ai_addrlen) == 0 else {
      close(descriptor)
      throw CommandFailure("health: nobody listens on \(host):\(port)")
    }
    return descriptor
  }

  /// Reads until the server closes, or says nothing for a while.
  private func everything(from descriptor: Int32) -> String {
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while answer.count < Self.longestAnswer {
      let received = recv(descriptor, &buffer, buffer.count, 0)
      guard received > 0 else { break }
      answer += buffer.prefix(received)
    }
    return String(decoding: answer, as: UTF8.self)
  }
}
