/// What can be measured, each with its unit.
enum Measure: String, CaseIterable, Sendable {
  case rate = "events/s"
  case rateWithStart = "events/s with start"
  case workerCPU = "worker µs/event"
  case postgresCPU = "Postgres µs/event"
  case wal = "WAL bytes/event"
  case peakMemory = "peak MiB"
  case batch = "events/batch"
  case vacuumCPU = "VACUUM ANALYZE µs/event"
  case coldStart = "start to first commit, s"
  case groupJoin = "of it until the first position, s"
  case lockShare = "time waiting for locks, %"
  case deadlocks = "deadlocks"
  case rollupMedian = "produced to visible in rollups, p50 ms"
  case rollupTail = "produced to visible in rollups, p99 ms"
  case viewMedian = "produced to visible in summary views, p50 s"
  case viewTail = "produced to visible in summary views, p99 s"
  case refreshCPU = "fold and refresh of both views, Postgres CPU ms"
  case refreshTime = "fold and refresh of both views, ms"
  case plainRefreshCPU = "both views over the raw rows, Postgres CPU ms"
  case idleWorker = "worker, % of a core"
  case idlePostgres = "Postgres, % of a core"

  /// Those that every way of storing events has; the others are listed one by one.
  static let throughput: [Measure] = [
    .rate, .rateWithStart, .workerCPU, .postgresCPU, .wal, .peakMemory, .batch, .vacuumCPU,
  ]

  /// Decimals that are worth reading.
  var digits: Int {
    switch self {
    case .rate, .rateWithStart, .wal, .peakMemory, .batch, .deadlocks, .plainRefreshCPU: 0
    case .rollupMedian, .rollupTail, .refreshCPU, .refreshTime, .viewMedian, .viewTail, .lockShare: 1
    case .workerCPU, .postgresCPU, .vacuumCPU, .coldStart, .groupJoin, .idleWorker, .idlePostgres: 2
    }
  }
}

/// What was measured: a way of storing events with a mix of them, or something else that costs time.
struct Subject: Hashable, Sendable {
  let name: String

  static func floor(_ mix: Mix) -> Subject { Subject(name: "floor, \(mix.rawValue)") }
  static func ours(_ mix: Mix) -> Subject { Subject(name: "ours, \(mix.rawValue)") }
  static func obvious(_ mix: Mix) -> Subject { Subject(name: "obvious, \(mix.rawValue)") }
  static let replay = Subject(name: "ours, busy, replayed")
  static let twoWorkers = Subject(name: "ours, busy, two workers")
  static let freshness = Subject(name: "freshness")
  static let idle = Subject(name: "idle")
  static func refresh(millions: Int) -> Subject { Subject(name: "refresh at \(millions) M stored") }
}

/// Everything that was measured, in the order in which it was first.
struct Findings: Sendable {
  struct Key: Hashable, Sendable {
    let subject: Subject
    let measure: Measure
  }

  private(set) var keys: [Key] = []
  private var values: [Key: [Double]] = [:]

  mutating func add(_ value: Double, _ measure: Measure, of subject: Subject) {
    let key = Key(subject: subject, measure: measure)
    if values[key] == nil { keys.append(key) }
    values[key, default: []].append(value)
  }

  subscript(subject: Subject, measure: Measure) -> Spread? {
    values[Key(subject: subject, measure: measure)].flatMap { Spread($0) }
  }

  /// A measure of one subject by that of another; nil where one of the two was not measured.
  func ratio(_ measure: Measure, _ subject: Subject, to other: Subject) -> Spread? {
    guard let above = self[subject, measure], let below = self[other, measure] else { return nil }
    return above.divided(by: below)
  }

  /// Subjects in the order in which they came, each once.
  var subjects: [Subject] {
    var seen: Set<Subject> = []
    return keys.map(\.subject).filter { seen.insert($0).inserted }
  }
}
