/// What the worker is held to.
struct Target: Sendable {
  enum Bound: Sendable {
    case atMost(Double)
    case atLeast(Double)
    case under(Double)
  }

  let title: String
  let bound: Bound
  let digits: Int
  /// Takes what was measured; nil where that was left out.
  let value: @Sendable (Findings) -> Spread?

  /// Whether the median keeps the bound; nil where nothing was measured.
  func isMet(by findings: Findings) -> Bool? {
    guard let median = value(findings)?.median else { return nil }
    switch bound {
    case .atMost(let limit): return median <= limit
    case .atLeast(let limit): return median >= limit
    case .under(let limit): return median < limit
    }
  }

  var boundText: String {
    switch bound {
    case .atMost(let limit): "≤ \(NumberForm.text(limit, digits: digits))"
    case .atLeast(let limit): "≥ \(NumberForm.text(limit, digits: digits))"
    case .under(let limit): "< \(NumberForm.text(limit, digits: digits))"
    }
  }
}

extension Target {
  static let all: [Target] =
    [
      ratio(
        "Postgres CPU an event, ours ÷ floor, busy", .postgresCPU, .ours(.busy), .floor(.busy), .atMost(1.3)),
      ratio(
        "Postgres CPU an event, ours ÷ floor, sparse", .postgresCPU, .ours(.sparse), .floor(.sparse),
        .atMost(1.6)),
      plain("worker CPU an event, busy, µs", .workerCPU, .ours(.busy), .atMost(4), digits: 2),
      plain("worker CPU an event, sparse, µs", .workerCPU, .ours(.sparse), .atMost(4), digits: 2),
      ratio("events a second, ours ÷ floor, busy", .rate, .ours(.busy), .floor(.busy), .atLeast(0.75)),
      ratio("events a second, ours ÷ floor, sparse", .rate, .ours(.sparse), .floor(.sparse), .atLeast(0.55)),
      ratio("events a second, ours ÷ obvious, busy", .rate, .ours(.busy), .obvious(.busy), .atLeast(4)),
      ratio(
        "events a second, ours ÷ obvious, sparse", .rate, .ours(.sparse), .obvious(.sparse), .atLeast(2.5)),
      ratio("1 % redeliveries ÷ none", .rate, .ours(.busy), .ours(.clean), .atLeast(0.9)),
      ratio("replay ÷ first ingest", .rate, .replay, .ours(.busy), .atLeast(1.5)),
      ratio("wide history, ours ÷ floor", .rate, .ours(.wide), .floor(.wide), .atLeast(0.3)),
      ratio("two workers ÷ one", .rate, .twoWorkers, .ours(.busy), .atLeast(1)),
      plain("two workers: deadlocks", .deadlocks, .twoWorkers, .atMost(0), digits: 0),
      plain("two workers: time waiting for locks, %", .lockShare, .twoWorkers, .under(10), digits: 1),
      plain("produced to visible in rollups, p99 ms", .rollupTail, .freshness, .atMost(400), digits: 0),
      plain("worker's peak memory under a backlog, MiB", .peakMemory, .ours(.busy), .atMost(200), digits: 0),
      plain("idle worker, % of a core", .idleWorker, .idle, .under(1), digits: 2),
    ] + refresh

  private static let refresh = [
    plain(
      "fold and refresh at 10 M stored, Postgres CPU ms", .refreshCPU, .refresh(millions: 10), .atMost(150),
      digits: 0),
    ratio(
      "fold and refresh, 10 M ÷ 1 M stored", .refreshCPU, .refresh(millions: 10), .refresh(millions: 1),
      .atMost(1.3)),
    Target(title: "views over raw rows ÷ ours, 5 M stored", bound: .atLeast(50), digits: 0) { findings in
      let stored = Subject.refresh(millions: 5)
      guard let plain = findings[stored, .plainRefreshCPU], let ours = findings[stored, .refreshCPU] else {
        return nil
      }
      return plain.divided(by: ours)
    },
  ]

  private static func ratio(
    _ title: String, _ measure: Measure, _ subject: Subject, _ other: Subject, _ bound: Bound
  ) -> Target {
    Target(title: title, bound: bound, digits: 2) { $0.ratio(measure, subject, to: other) }
  }

  private static func plain(
    _ title: String, _ measure: Measure, _ subject: Subject, _ bound: Bound, digits: Int
  ) -> Target {
    Target(title: title, bound: bound, digits: digits) { $0[subject, measure] }
  }
}
