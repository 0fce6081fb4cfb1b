import Foundation
import Glibc
import Synchronization

/// The built program as a process of its own, which can be killed at any moment.
public final class WorkerProcess: Sendable {
  public struct SpawnFailure: Error { public var code: Int32 }

  public let pid: pid_t
  private let errorFile: URL
  /// The status that `waitpid` gave, nil while the process lives.
  private let status = Mutex<Int32?>(nil)

  /// The program, which the build puts beside the tests.
  public static let program: URL = {
    let tests = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests ?? "").deletingLastPathComponent().appending(path: "telemetry-worker")
  }()

  /// Starts the program with these variables and no others.
  public init(_ arguments: [String], environment: [String: String]) throws {
    errorFile = FileManager.default.temporaryDirectory.appending(path: "worker-\(UUID().uuidString).log")
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 2, errorFile.path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 2, 1)
    let words = ([Self.program.path] + arguments).map { strdup($0) } + [nil]
    let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in words + variables { free(text) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, Self.program.path, &actions, nil, words, variables)
    guard code == 0 else { throw SpawnFailure(code: code) }
    pid = child
  }

  deinit {
    if !hasEnded {
      send(SIGKILL)
      var ignored: Int32 = 0
      waitpid(pid, &ignored, 0)
    }
    try? FileManager.default.removeItem(at: errorFile)
  }

  /// Sends a signal; nothing happens when the process has ended.
  public func send(_ signal: Int32) {
    // Under the lock, so that nobody has waited for the process yet and its id is still its own.
    status.withLock { if $0 == nil { kill(pid, signal) } }
  }

  public var hasEnded: Bool {
    status.withLock { status in
      if status != nil { return true }
      var found: Int32 = 0
      guard waitpid(pid, &found, WNOHANG) == pid else { return false }
      status = found
      return true
    }
  }

  /// Waits for the end. The exit code, or the negative number of the signal that ended it.
  @discardableResult
  public func end() async throws -> Int32 {
    try await eventually("process \(pid) ends; it said: \(errors.suffix(2_000))") { hasEnded }
    let status = status.withLock { $0 ?? 0 }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
  }

  /// `kill -9`.
  public func killHard() async throws {
    send(SIGKILL)
    try await end()
  }

  /// What it has written to standard output and standard error so far.
  public var errors: String { (try? String(contentsOf: errorFile, encoding: .utf8)) ?? "" }
}
