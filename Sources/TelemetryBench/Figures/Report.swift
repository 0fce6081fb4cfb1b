import Foundation

/// What is printed: the machine, what was measured, and the targets.
struct Report: Encodable {
  struct Figure: Encodable {
    var subject: String
    var measure: String
    var median: Double
    var least: Double
    var most: Double
    var values: [Double]
  }

  struct Verdict: Encodable {
    var target: String
    var bound: String
    var median: Double?
    /// The median, with the least and the most.
    var shown: String
    /// Nil where nothing was measured.
    var isMet: Bool?
  }

  /// When it began, RFC 3339.
  var date: String
  var machine: Machine
  /// PostgreSQL's settings that are not its defaults.
  var serverSettings: [String: String]
  /// How many events, rounds and so on.
  var sizes: [String: Int]
  var figures: [Figure]
  var targets: [Verdict]
  private let findings: Findings

  private enum CodingKeys: String, CodingKey { case date, machine, serverSettings, sizes, figures, targets }

  init(
    began: Date, machine: Machine, serverSettings: [String: String], sizes: [String: Int], findings: Findings
  ) {
    date = ISO8601DateFormatter().string(from: began)
    self.machine = machine
    self.serverSettings = serverSettings
    self.sizes = sizes
    self.findings = findings
    figures = findings.keys.compactMap { key in
      findings[key.subject, key.measure].map {
        Figure(
          subject: key.subject.name, measure: key.measure.rawValue, median: $0.median, least: $0.least,
          most: $0.most, values: $0.values)
      }
    }
    targets = Target.all.map { target in
      let value = target.value(findings)
      return Verdict(
        target: target.title, bound: target.boundText, median: value?.median,
        shown: value?.text(digits: target.digits) ?? "not measured", isMet: target.isMet(by: findings))
    }
  }

  /// The tables, for a terminal and for a page alike: Markdown with columns that stand straight.
  var tables: String {
    "### Storing events\n\n\(throughput)\n### Other figures\n\n\(others)\n### Targets\n\n\(verdicts)"
  }

  /// The block for the documentation: also when, where and with which settings.
  var markdown: String {
    let settings = serverSettings.sorted { $0.key < $1.key }.map { "`\($0.key) = \($0.value)`" }
    let sizes = sizes.sorted { $0.key < $1.key }.map {
      "\($0.key) \(NumberForm.text(Double($0.value), digits: 0))"
    }
    return """
      Measured \(date) with `deploy/bench`: the median of the rounds, and their least and most.

      - Machine: \(machine.processor), \(machine.cores) cores, \
      \(NumberForm.text(machine.memoryGiB, digits: 1)) GiB of memory, \(machine.kernel), data on \(machine.fileSystem)
      - PostgreSQL \(machine.postgres), with \(settings.joined(separator: ", "))
      - Sizes: \(sizes.joined(separator: ", "))

      \(tables)
      """
  }

  private var throughput: String {
    let measures = Measure.throughput
    var table = MarkdownTable([.text("way, mix")] + measures.map { .number($0.rawValue) })
    for subject in findings.subjects where findings[subject, .rate] != nil {
      table.add([subject.name] + measures.map { findings[subject, $0]?.text(digits: $0.digits) ?? "" })
    }
    return table.rendered
  }

  private var others: String {
    var table = MarkdownTable([.text("what"), .text("figure"), .number("value")])
    for key in findings.keys where !Measure.throughput.contains(key.measure) {
      let value = findings[key.subject, key.measure]?.text(digits: key.measure.digits)
      table.add([key.subject.name, key.measure.rawValue, value ?? ""])
    }
    return table.rendered
  }

  /// Of what was measured.
  private var verdicts: String {
    var table = MarkdownTable([.text("target"), .number("bound"), .number("measured"), .text("verdict")])
    for each in targets {
      guard let isMet = each.isMet else { continue }
      table.add([each.target, each.bound, each.shown, isMet ? "met" : "NOT MET"])
    }
    return table.rendered
  }
}
