import Foundation
import TestSupport

/// Runs what was selected, in rounds, so that all who are compared meet the same moods of the machine.
struct Benchmark {
  let surroundings: Surroundings
  let sizes: Sizes
  let selected: Set<Scenario>
  private(set) var findings = Findings()
  private var material: [Mix: Material] = [:]

  init(surroundings: Surroundings, sizes: Sizes, selected: Set<Scenario>) {
    self.surroundings = surroundings
    self.sizes = sizes
    self.selected = selected
  }

  /// One way of storing the events of one mix.
  private enum Step {
    case ours(Mix)
    case floor(Mix)
    case obvious(Mix)
    case twoWorkers
  }

  mutating func run() async throws {
    let steps = steps
    for round in 0..<(steps.isEmpty ? 0 : sizes.rounds) {
      Console.note("round \(round + 1) of \(sizes.rounds)")
      // There and back again: none always comes after the same other.
      for step in round.isMultiple(of: 2) ? steps : steps.reversed() { try await take(step) }
    }
    material = [:]
    if selected.contains(.freshness) {
      Console.note("freshness")
      try await FreshnessRun(surroundings: surroundings, sizes: sizes).run().record(in: &findings)
    }
    if selected.contains(.idle) {
      Console.note("idle")
      try await IdleRun(surroundings: surroundings, sizes: sizes).run(into: &findings)
    }
    if selected.contains(.refresh) {
      Console.note("refresh")
      try RefreshRun(surroundings: surroundings, sizes: sizes).run(into: &findings)
    }
  }

  /// Ours comes before the floor of the same mix, which takes the size of its transactions.
  private var steps: [Step] {
    var steps: [Step] = []
    let mixes = Self.compared(selected)
    for mix in mixes {
      if selected.contains(mix == .busy ? .busy : .sparse) { steps.append(.ours(mix)) }
      if selected.contains(.floor) { steps.append(.floor(mix)) }
      if selected.contains(.obvious) { steps.append(.obvious(mix)) }
    }
    if selected.contains(.clean) { steps.append(.ours(.clean)) }
    if selected.contains(.workers) { steps.append(.twoWorkers) }
    if selected.contains(.wide) { steps += [.ours(.wide), .floor(.wide)] }
    return steps
  }

  /// The mixes that floor and obvious way are to be measured with.
  private static func compared(_ selected: Set<Scenario>) -> [Mix] {
    let named: [Mix] =
      (selected.contains(.busy) ? [.busy] : []) + (selected.contains(.sparse) ? [.sparse] : [])
    return named.isEmpty ? [.busy, .sparse] : named
  }

  private mutating func take(_ step: Step) async throws {
    switch step {
    case .ours(let mix):
      try await ingest(mix)
    case .floor(let mix):
      let run = try FloorRun(
        surroundings: surroundings, rows: try rows(mix), batchesInTransaction: batchesInTransaction(mix)
      ).run()
      run.record(in: &findings, as: .floor(mix))
      say(.floor(mix))
    case .obvious(let mix):
      let rows = try rows(mix).prefix(events: sizes.obviousEvents)
      try ObviousRun(surroundings: surroundings, rows: rows).run().record(in: &findings, as: .obvious(mix))
      say(.obvious(mix))
    case .twoWorkers:
      try await ingestWithTwo()
    }
  }

  private mutating func ingest(_ mix: Mix) async throws {
    let material = try material(mix)
    let backlog = try material.backlog(surroundings, mix, sizes)
    let database = try surroundings.makeDatabase()
    let run = IngestRun(surroundings: surroundings, database: database, backlog: backlog)
    let first = try await run.run(group: "\(database.name)-first", expected: backlog.events)
    first.record(in: &findings, as: .ours(mix))
    if mix == .busy {
      findings.add(first.firstCommitAfter, .coldStart, of: .ours(mix))
      findings.add(first.firstPositionAfter, .groupJoin, of: .ours(mix))
    }
    say(.ours(mix))
    if mix == .busy && selected.contains(.replay) {
      let again = try await run.run(group: "\(database.name)-again", expected: backlog.events)
      again.record(in: &findings, as: .replay)
      say(.replay)
    }
    try surroundings.drop(database)
  }

  private mutating func ingestWithTwo() async throws {
    let backlog = try material(.busy).backlog(surroundings, .busy, sizes)
    let database = try surroundings.makeDatabase()
    let run = IngestRun(surroundings: surroundings, database: database, backlog: backlog, workers: 2)
    let outcome = try await run.run(group: "\(database.name)-two", expected: backlog.events)
    outcome.record(in: &findings, as: .twoWorkers)
    findings.add(100 * outcome.lockShare, .lockShare, of: .twoWorkers)
    findings.add(Double(outcome.deadlocks), .deadlocks, of: .twoWorkers)
    say(.twoWorkers)
    try surroundings.drop(database)
  }

  // MARK: Events

  private mutating func material(_ mix: Mix) throws -> Material {
    if let known = material[mix] { return known }
    Console.note("making the events: \(mix.rawValue)")
    let made = Material(
      events: try EventSet(mix, events: mix == .wide ? sizes.wideEvents : sizes.events, seed: sizes.seed))
    material[mix] = made
    return made
  }

  private mutating func rows(_ mix: Mix) throws -> EncodedRows {
    try material(mix).rows(batchEvents: sizes.batch)
  }

  /// So that a transaction is as large as the worker's own on the average.
  private func batchesInTransaction(_ mix: Mix) -> Int {
    guard let own = findings[.ours(mix), .batch]?.median else { return 1 }
    return max(1, Int((own / Double(sizes.batch)).rounded()))
  }

  private func say(_ subject: Subject) {
    let rate = findings[subject, .rate]?.values.last ?? 0
    let cpu = findings[subject, .postgresCPU]?.values.last ?? 0
    let worker = findings[subject, .workerCPU]?.values.last.map {
      ", worker \(NumberForm.text($0, digits: 2))"
    }
    Console.note(
      "  \(subject.name): \(NumberForm.text(rate, digits: 0)) events/s, "
        + "µs CPU an event: Postgres \(NumberForm.text(cpu, digits: 2))\(worker ?? "")")
  }
}

/// The events of one mix, in Kafka and encoded, each made when first asked for.
private final class Material {
  private let events: EventSet
  private var backlog: Backlog?
  private var rows: EncodedRows?

  init(events: EventSet) { self.events = events }

  func backlog(_ surroundings: Surroundings, _ mix: Mix, _ sizes: Sizes) throws -> Backlog {
    if let backlog { return backlog }
    let topic = "bench-\(mix)"
    let made = try Backlog(
      events, topic: topic, partitions: sizes.partitions, cluster: surroundings.cluster)
    backlog = made
    return made
  }

  /// The batch size of the first call stands.
  func rows(batchEvents: Int) throws -> EncodedRows {
    if let rows { return rows }
    let made = try EncodedRows(events, batchEvents: batchEvents)
    rows = made
    return made
  }
}
