/// Reads the Prometheus text format 0.0.4 strictly, written from its specification and apart from the writer,
/// so that the writer is not judged by its own rules.
public struct ExpositionParser: Sendable {
  public struct Family: Sendable {
    public var help = ""
    public var type = ""
    public var samples: [Sample] = []
  }

  public struct Sample: Equatable, Sendable {
    public var name: String
    public var labels: [String: String]
    public var value: Double
  }

  public struct Malformed: Error, CustomStringConvertible {
    public var description: String
  }

  public private(set) var families: [String: Family] = [:]
  private var current: String?

  public init(_ text: String) throws {
    guard text.isEmpty || text.utf8.last == UInt8(ascii: "\n") else {
      throw Malformed(description: "no final line feed")
    }
    for line in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: true) {
      try read(String(line))
    }
    for (name, family) in families where family.type == "histogram" { try Self.check(name, family) }
  }

  public func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
    families.values.lazy.flatMap(\.samples).first { $0.name == name && $0.labels == labels }?.value
  }

  private mutating func read(_ line: String) throws {
    if line.hasPrefix("# HELP ") {
      let words = line.dropFirst(7).split(separator: " ", maxSplits: 1)
      guard families[String(words[0])] == nil else { throw Malformed(description: "second HELP: \(line)") }
      families[String(words[0]), default: Family()].help = words.count > 1 ? String(words[1]) : ""
    } else if line.hasPrefix("# TYPE ") {
      let words = line.dropFirst(7).split(separator: " ").map(String.init)
      guard words.count == 2, families[words[0], default: Family()].type.isEmpty else {
        throw Malformed(description: "bad TYPE: \(line)")
      }
      guard ["counter", "gauge", "histogram"].contains(words[1]) else { throw Malformed(description: line) }
      families[words[0], default: Family()].type = words[1]
      current = words[0]
    } else {
      let sample = try Self.sample(line)
      guard let current, Self.belongs(sample.name, to: current, families[current]!.type) else {
        throw Malformed(description: "sample outside its family: \(line)")
      }
      guard
        !families[current]!.samples.contains(where: { $0.name == sample.name && $0.labels == sample.labels })
      else { throw Malformed(description: "sample given twice: \(line)") }
      families[current]!.samples.append(sample)
    }
  }

  private static func belongs(_ name: String, to family: String, _ type: String) -> Bool {
    type == "histogram" ? ["_bucket", "_sum", "_count"].contains { name == family + $0 } : name == family
  }

  private static func sample(_ line: String) throws -> Sample {
    var rest = Substring(line)
    let name = rest.prefix { $0 != "{" && $0 != " " }
    rest = rest.dropFirst(name.count)
    guard let first = name.first, first.isASCII, !first.isNumber,
      name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") })
    else { throw Malformed(description: "bad name: \(line)") }
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while rest.first != "}" {
        let label = rest.prefix { $0 != "=" }
        rest = rest.dropFirst(label.count)
        guard rest.hasPrefix("=\"") else { throw Malformed(description: "bad label: \(line)") }
        rest = rest.dropFirst(2)
        labels[String(label)] = try quoted(&rest)
        if rest.first == "," { rest = rest.dropFirst() }
      }
      rest = rest.dropFirst()
    }
    guard rest.first == " ", let value = number(rest.dropFirst()) else {
      throw Malformed(description: "bad value: \(line)")
    }
    return Sample(name: String(name), labels: labels, value: value)
  }

  /// Up to the closing quote, with `\\`, `\"` and `\n` undone.
  private static func quoted(_ rest: inout Substring) throws -> String {
    var scalars = rest.unicodeScalars
    var value = String.UnicodeScalarView()
    while let scalar = scalars.popFirst() {
      if scalar == "\"" {
        rest = Substring(scalars)
        return String(value)
      }
      guard scalar == "\\" else {
        value.append(scalar)
        continue
      }
      switch scalars.popFirst() {
      case "\\": value.append("\\")
      case "\"": value.append("\"")
      case "n": value.append("\n")
      case let other: throw Malformed(description: "bad escape \(String(describing: other))")
      }
    }
    throw Malformed(description: "quote not closed")
  }

  private static func number(_ text: Substring) -> Double? {
    switch text {
    case "+Inf": .infinity
    case "-Inf": -.infinity
    case "NaN": .nan
    default: text.contains(where: { $0 == "i" || $0 == "n" }) ? nil : Double(text)
    }
  }

  /// Buckets ascend, end with +Inf, and agree with _count, in each series.
  private static func check(_ name: String, _ family: Family) throws {
    var series: [[String: String]: [Sample]] = [:]
    for sample in family.samples {
      series[sample.labels.filter { $0.key != "le" }, default: []].append(sample)
    }
    for (labels, samples) in series {
      let buckets = samples.filter { $0.name == name + "_bucket" }
      let bounds = buckets.compactMap { $0.labels["le"].flatMap { number(Substring($0)) } }
      let counts = buckets.map(\.value)
      guard bounds.count == buckets.count, bounds == bounds.sorted(), bounds.last == .infinity,
        counts == counts.sorted(), counts.last == samples.first(where: { $0.name == name + "_count" })?.value,
        samples.contains(where: { $0.name == name + "_sum" })
      else { throw Malformed(description: "histogram \(name)\(labels) contradicts itself") }
    }
  }
}
