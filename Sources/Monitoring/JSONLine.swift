import Logging

/// A log line for programs: `{"ts":"…","level":"info","msg":"…","logger":"…","key":"value"}` (RFC 8259).
///
/// Metadata is flat: a nested dictionary's keys are joined by dots. Numbers and booleans stay what they are.
enum JSONLine {
  private static let ownKeys: Set<String> = ["ts", "level", "msg", "logger"]

  static func format(_ entry: LogEntry) -> String {
    var line = "{\"ts\":\"\(WallClock.rfc3339(entry.time))\",\"level\":\"\(entry.level.rawValue)\",\"msg\":"
    append(entry.message, to: &line)
    line += ",\"logger\":"
    append(entry.label, to: &line)
    var flat: [String: Logger.MetadataValue] = [:]
    flatten(entry.metadata, prefix: "", into: &flat)
    for (key, value) in flat.sorted(by: { $0.key < $1.key }) {
      line += ","
      append(ownKeys.contains(key) ? "metadata.\(key)" : key, to: &line)
      line += ":"
      append(value, to: &line)
    }
    return line + "}"
  }

  /// A dictionary, so that no key stands twice in the object whatever the nesting.
  private static func flatten(
    _ metadata: Logger.Metadata, prefix: String, into flat: inout [String: Logger.MetadataValue]
  ) {
    for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
      if case .dictionary(let nested) = value {
        flatten(nested, prefix: "\(prefix)\(key).", into: &flat)
      } else {
        flat[prefix + key] = value
      }
    }
  }

  private static func append(_ value: Logger.MetadataValue, to line: inout String) {
    switch value {
    case .string(let text): append(text, to: &line)
    case .stringConvertible(let value): append(convertible: value, to: &line)
    case .array(let values):
      append(values, between: ("[", "]"), to: &line) { append($0, to: &$1) }
    case .dictionary(let nested):
      append(nested.sorted { $0.key < $1.key }, between: ("{", "}"), to: &line) { member, line in
        append(member.key, to: &line)
        line += ":"
        append(member.value, to: &line)
      }
    }
  }

  private static func append(
    convertible value: any CustomStringConvertible & Sendable, to line: inout String
  ) {
    switch value {
    case let number as any BinaryInteger: line += "\(number)"
    case let flag as Bool: line += flag ? "true" : "false"
    // JSON has no infinity and no NaN: those become strings.
    case let number as Double where number.isFinite: line += "\(number)"
    case let number as Float where number.isFinite: line += "\(number)"
    default: append(value.description, to: &line)
    }
  }

  private static func append<Element>(
    _ elements: [Element], between brackets: (String, String), to line: inout String,
    each: (Element, inout String) -> Void
  ) {
    line += brackets.0
    for (index, element) in elements.enumerated() {
      if index > 0 { line += "," }
      each(element, &line)
    }
    line += brackets.1
  }

  /// A string's JSON form. A Swift string is valid Unicode already; what must be escaped is. The separators
  /// U+2028 and U+2029 are escaped too: some readers take them for line ends.
  static func append(_ text: String, to line: inout String) {
    line += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": line += #"\""#
      case "\\": line += #"\\"#
      case "\n": line += #"\n"#
      case "\r": line += #"\r"#
      case "\t": line += #"\t"#
      case _
      where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
        || scalar.value == 0x2028 || scalar.value == 0x2029:
        let digits = String(scalar.value, radix: 16)
        line += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: line.unicodeScalars.append(scalar)
      }
    }
    line += "\""
  }
}
