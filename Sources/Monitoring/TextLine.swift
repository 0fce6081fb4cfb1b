import Logging

/// A log line for people: `2026-11-22T17:13:52.012345Z WARN  message key=value key="two words"`.
enum TextLine {
  static func format(_ entry: LogEntry) -> String {
    var line = "\(WallClock.rfc3339(entry.time)) \(level(entry.level)) \(escaped(entry.message))"
    for (key, value) in entry.metadata.sorted(by: { $0.key < $1.key }) {
      line += " \(escaped(key))=\(quoted(value.description))"
    }
    return line
  }

  /// Five letters, so that messages stand in one column.
  private static func level(_ level: Logger.Level) -> String {
    switch level {
    case .trace: "TRACE"
    case .debug: "DEBUG"
    case .info: "INFO "
    case .notice: "NOTE "
    case .warning: "WARN "
    case .error: "ERROR"
    case .critical: "FATAL"
    }
  }

  private static func quoted(_ value: String) -> String {
    let plain =
      !value.isEmpty
      && value.unicodeScalars.allSatisfy { scalar in
        scalar != " " && scalar != "\"" && scalar != "=" && scalar != "\\" && !isUnsafe(scalar)
      }
    return plain ? value : "\"\(escaped(value, quotes: true))\""
  }

  /// One line stays one line, and nothing in it steers the terminal.
  private static func escaped(_ text: String, quotes: Bool = false) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\n": result += #"\n"#
      case "\r": result += #"\r"#
      case "\t": result += #"\t"#
      case "\"" where quotes: result += #"\""#
      case "\\" where quotes: result += #"\\"#
      case _ where isUnsafe(scalar): result += #"\u{\#(String(scalar.value, radix: 16))}"#
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Control characters, line separators, and the marks that turn the direction of text around.
  private static func isUnsafe(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x00...0x1F, 0x7F...0x9F, 0x2028...0x202E, 0x2066...0x2069: true
    default: false
    }
  }
}
