import Foundation
import Glibc

/// Where it was measured.
struct Machine: Encodable, Sendable {
  var processor: String
  var cores: Int
  var memoryGiB: Double
  var kernel: String
  /// Of the folder that holds the database.
  var fileSystem: String
  var postgres: String

  /// - Parameters:
  ///   - folder: Where the database is.
  ///   - postgres: The server's version.
  init(folder: String, postgres: String) {
    processor =
      Self.value(of: "model name", in: "/proc/cpuinfo") ?? "an unnamed processor"
    cores = ProcessInfo.processInfo.activeProcessorCount
    memoryGiB = Double(ProcessInfo.processInfo.physicalMemory) / Double(1 << 30)
    kernel =
      "Linux \((try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8))?.split(separator: "\n").first ?? "")"
    fileSystem = Self.fileSystem(of: folder)
    self.postgres = postgres
  }

  /// Processes that want the processor, on the average of the last minute.
  static var load: Double {
    let text = (try? String(contentsOfFile: "/proc/loadavg", encoding: .utf8)) ?? ""
    return text.split(separator: " ").first.flatMap { Double($0) } ?? 0
  }

  private static func value(of name: String, in path: String) -> String? {
    let lines = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
    guard let line = lines.first(where: { $0.hasPrefix(name) }), let colon = line.firstIndex(of: ":") else {
      return nil
    }
    return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
  }

  /// The type of the file system whose mount point is the longest that leads to the folder.
  private static func fileSystem(of folder: String) -> String {
    let table = (try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)) ?? ""
    var longest = (point: "", type: "an unknown file system")
    for line in table.split(separator: "\n") {
      let fields = line.split(separator: " ").map(String.init)
      guard fields.count > 2, fields[1].count > longest.point.count else { continue }
      let point = fields[1]
      let leads = point == "/" || folder == point || folder.hasPrefix(point + "/")
      if leads { longest = (point, fields[2]) }
    }
    return longest.type
  }
}
