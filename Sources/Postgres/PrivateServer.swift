import Foundation
import Glibc

/// A PostgreSQL server of one's own in a temporary folder, on a free port of 127.0.0.1: for the demo and the tests.
///
/// PostgreSQL refuses to run as root; started by root, the server runs as the user `postgres`, or `nobody`.
public final class PrivateServer: Sendable {
  public enum Failure: Error, CustomStringConvertible {
    case programsNotFound
    case commandFailed(String, status: Int32, output: String)
    case noPort

    public var description: String {
      switch self {
      case .programsNotFound:
        "PostgreSQL's programs (initdb, pg_ctl) were not found in PATH or /usr/lib/postgresql: install postgresql"
      case .commandFailed(let command, let status, let output):
        "\(command) ended with status \(status): \(output)"
      case .noPort: "no free port was found on 127.0.0.1"
      }
    }
  }

  public let folder: URL
  public let port: UInt16
  private let programs: URL

  /// A libpq URI of the server's only superuser.
  public var url: String { "postgresql://postgres@127.0.0.1:\(port)/postgres" }
  private var dataFolder: URL { folder.appending(path: "data") }

  /// Makes a cluster and starts it. `settings` become lines of postgresql.conf; fsync stays on unless they say else.
  public init(settings: [String: String] = [:]) throws {
    programs = try Self.findPrograms()
    folder = FileManager.default.temporaryDirectory.appending(path: "telemetry-postgres-\(UUID().uuidString)")
    port = try Self.freePort()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    if getuid() == 0 {
      let owner = try Self.unprivilegedUser()
      chown(folder.path, owner.uid, owner.gid)
    }
    try run(
      "initdb", ["-D", dataFolder.path, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"])
    var lines = [
      "listen_addresses = '127.0.0.1'", "port = \(port)", "unix_socket_directories = '\(folder.path)'",
      "max_connections = 100", "logging_collector = off",
    ]
    lines += settings.map { "\($0.key) = '\($0.value)'" }.sorted()
    let configuration = try FileHandle(forWritingTo: dataFolder.appending(path: "postgresql.auto.conf"))
    try configuration.seekToEnd()
    try configuration.write(contentsOf: Data((lines.joined(separator: "\n") + "\n").utf8))
    try configuration.close()
    try start()
  }

  public func start() throws {
    try run(
      "pg_ctl", ["-D", dataFolder.path, "-w", "-t", "60", "-l", folder.appending(path: "log").path, "start"])
  }

  /// How a server stops: after its sessions were ended, or as if it crashed.
  public enum StopMode: String, Sendable { case fast, immediate }

  public func stop(_ mode: StopMode = .fast) throws {
    try run("pg_ctl", ["-D", dataFolder.path, "-w", "-t", "60", "-m", mode.rawValue, "stop"])
  }

  /// What a person types to stop the server and remove its data.
  public var stopCommand: String {
    let command = commandLine("pg_ctl", ["-D", dataFolder.path, "-m", "fast", "stop"]).joined(separator: " ")
    return "\(command) && rm -r \(folder.path)"
  }

  /// Stops the server and removes its folder.
  public func remove() {
    try? stop(.immediate)
    try? FileManager.default.removeItem(at: folder)
  }

  /// What the server wrote to its log.
  public var log: String {
    (try? String(contentsOf: folder.appending(path: "log"), encoding: .utf8)) ?? ""
  }

  private func run(_ program: String, _ arguments: [String]) throws {
    let command = commandLine(program, arguments)
    let output = folder.appending(path: "\(program).out").path
    let status = try Self.spawn(command, output: output)
    guard status == 0 else {
      let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
      throw Failure.commandFailed(program, status: status, output: text + log.suffix(2_000))
    }
  }

  /// The program with its arguments; as the user who owns the folder where root calls it.
  private func commandLine(_ program: String, _ arguments: [String]) -> [String] {
    let command = [programs.appending(path: program).path] + arguments
    guard getuid() == 0, let owner = try? Self.unprivilegedUser() else { return command }
    return ["/usr/bin/setpriv", "--reuid=\(owner.uid)", "--regid=\(owner.gid)", "--clear-groups", "--"]
      + command
  }

  /// Runs a command to its end and returns its exit status. What it prints goes to a file.
  ///
  /// Not Foundation's Process: that one also waits for whatever inherits its socket, and so for the server that pg_ctl
  /// leaves behind.
  private static func spawn(_ command: [String], output: String) throws -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // The server outlives this call, and would keep open whatever it inherits.
    let inherited = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    for case let descriptor? in inherited.map({ Int32($0) }) where descriptor > 2 {
      posix_spawn_file_actions_addclose(&actions, descriptor)
    }
    let arguments = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let failure = posix_spawn(&child, command[0], &actions, nil, arguments, environ)
    guard failure == 0 else {
      throw Failure.commandFailed(command[0], status: failure, output: String(cString: strerror(failure)))
    }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 && errno == EINTR {}
    return (status & 0x7f) == 0 ? (status >> 8) & 0xff : -(status & 0x7f)
  }

  private static func unprivilegedUser() throws -> (uid: uid_t, gid: gid_t) {
    for name in ["postgres", "nobody"] {
      if let entry = getpwnam(name) { return (entry.pointee.pw_uid, entry.pointee.pw_gid) }
    }
    throw Failure.programsNotFound
  }

  private static func findPrograms() throws -> URL {
    let fileManager = FileManager.default
    let debian = URL(filePath: "/usr/lib/postgresql")
    let versions = (try? fileManager.contentsOfDirectory(atPath: debian.path)) ?? []
    let newestFirst = versions.sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }
    let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let candidates = newestFirst.map { debian.appending(path: "\($0)/bin") } + path.map { URL(filePath: $0) }
    for candidate in candidates
    where fileManager.isExecutableFile(atPath: candidate.appending(path: "initdb").path)
      && fileManager.isExecutableFile(atPath: candidate.appending(path: "pg_ctl").path)
    {
      return candidate
    }
    throw Failure.programsNotFound
  }

  /// A port that nobody listens on now. Somebody may take it before the server does; then starting fails.
  private static func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Failure.noPort }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
      }
    }
    guard bound else { throw Failure.noPort }
    return UInt16(bigEndian: address.sin_port)
  }
}
