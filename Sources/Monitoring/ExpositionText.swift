/// Writes the Prometheus text exposition format, version 0.0.4
/// (https://prometheus.io/docs/instrumenting/exposition_formats/).
public struct ExpositionText: Sendable {
  /// The Content-Type to serve the text with.
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  public private(set) var text = ""

  init() {
    text.reserveCapacity(16_384)
  }

  mutating func header(name: String, help: String, type: String) {
    text += "# HELP \(name) \(Self.escapedHelp(help))\n# TYPE \(name) \(type)\n"
  }

  mutating func sample(_ name: String, _ labels: [(name: String, value: String)], _ value: Double) {
    line(name, labels, Self.number(value))
  }

  /// Whole numbers are written exactly, past 2^53 too.
  mutating func sample(_ name: String, _ labels: [(name: String, value: String)], integer: Int) {
    line(name, labels, String(integer))
  }

  private mutating func line(_ name: String, _ labels: [(name: String, value: String)], _ value: String) {
    text += name
    if !labels.isEmpty {
      text += "{"
      for (index, label) in labels.enumerated() {
        if index > 0 { text += "," }
        text += label.name
        text += "=\""
        text += Self.escapedLabel(label.value)
        text += "\""
      }
      text += "}"
    }
    text += " "
    text += value
    text += "\n"
  }

  /// A float as Go's ParseFloat reads it: `+Inf`, `-Inf`, `NaN`, and whole numbers without a fraction.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }

  static func escapedLabel(_ value: String) -> String {
    escaped(value, quotes: true)
  }

  static func escapedHelp(_ value: String) -> String {
    escaped(value, quotes: false)
  }

  /// Works on scalars: a carriage return before a line feed is one Character, and must not hide the line
  /// feed.
  private static func escaped(_ value: String, quotes: Bool) -> String {
    var result = String.UnicodeScalarView()
    for scalar in value.unicodeScalars {
      switch scalar {
      case "\\": result.append(contentsOf: #"\\"#.unicodeScalars)
      case "\n": result.append(contentsOf: #"\n"#.unicodeScalars)
      case "\"" where quotes: result.append(contentsOf: #"\""#.unicodeScalars)
      default: result.append(scalar)
      }
    }
    return String(result)
  }
}
