import Foundation
import Glibc

/// What the operating system says of a process: proc(5) of Linux.
enum ProcessUsage {
  struct Unreadable: Error, CustomStringConvertible {
    var path: String
    var description: String { "\(path) cannot be read: the benchmark needs Linux, and the process must live" }
  }

  /// CPU seconds in user and system mode; those of its children that have ended too, if wanted. In steps of 10 ms.
  static func cpuSeconds(of pid: pid_t, withEndedChildren: Bool = false) throws -> Double {
    let fields = try statusFields(of: pid)
    // utime, stime, cutime and cstime are fields 14 to 17 of the line; the first here is its third.
    let ticks = fields[11...(withEndedChildren ? 14 : 12)].reduce(0) { $0 + (Double($1) ?? 0) }
    return ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }

  /// CPU seconds of all processes of a PostgreSQL server, those that have ended too.
  static func cpuSeconds(ofServer postmaster: pid_t) throws -> Double {
    let entries = try FileManager.default.contentsOfDirectory(atPath: "/proc")
    var seconds = 0.0
    for case let pid? in entries.map({ pid_t($0) }) {
      // A process may end while this looks; its time is then the postmaster's.
      guard let fields = try? statusFields(of: pid), fields[1] == String(postmaster) else { continue }
      seconds += (try? cpuSeconds(of: pid)) ?? 0
    }
    return seconds + (try cpuSeconds(of: postmaster, withEndedChildren: true))
  }

  /// CPU seconds of a process with one thread, to the nanosecond.
  static func exactCPUSeconds(ofSingleThread pid: pid_t) throws -> Double {
    let path = "/proc/\(pid)/schedstat"
    guard let text = try? String(contentsOfFile: path, encoding: .utf8),
      let nanoseconds = text.split(separator: " ").first.flatMap({ Double($0) })
    else { throw Unreadable(path: path) }
    return nanoseconds / 1e9
  }

  /// The most memory that the process has had resident, MiB.
  static func peakMiB(of pid: pid_t) throws -> Double {
    let path = "/proc/\(pid)/status"
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
    guard let kilobytes = line?.split(separator: " ").dropFirst().first.flatMap({ Double($0) }) else {
      throw Unreadable(path: path)
    }
    return kilobytes / 1_024
  }

  /// The fields of /proc/PID/stat behind the program's name, which may hold anything.
  private static func statusFields(of pid: pid_t) throws -> [Substring] {
    let path = "/proc/\(pid)/stat"
    guard let text = try? String(contentsOfFile: path, encoding: .utf8), let name = text.lastIndex(of: ")")
    else {
      throw Unreadable(path: path)
    }
    let fields = text[text.index(after: name)...].split(separator: " ")
    guard fields.count > 14 else { throw Unreadable(path: path) }
    return fields
  }
}
