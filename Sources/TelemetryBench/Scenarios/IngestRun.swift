import Foundation
import Postgres
import Store
import TestSupport

/// Ours: from the records in Kafka to everything committed, folded and refreshed, by the built program with its
/// defaults.
struct IngestRun {
  let surroundings: Surroundings
  let database: Database
  let backlog: Backlog
  var workers = 1

  struct Outcome {
    var stored: StoredRun
    /// From the program's start to the last COMMIT, seconds.
    var secondsWithStart: Double
    /// From the program's start, seconds.
    var firstPositionAfter: Double
    var firstCommitAfter: Double
    /// Of all workers, seconds.
    var workerCPU: Double
    /// Of the worker that used most, MiB.
    var peakMiB: Double
    /// Share of the workers' time that their backends waited for locks.
    var lockShare: Double
    /// In the database so far.
    var deadlocks: Int
  }

  /// Two looks at the progress.
  private static let pace = Duration.milliseconds(20)

  /// - Parameter expected: Events that the table holds afterwards.
  func run(group: String, expected: Int) async throws -> Outcome {
    let connection = try database.connect()
    let before = try surroundings.usage(connection)
    let lookingBefore = try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID)
    let clock = ContinuousClock()
    let began = clock.now
    let startedAt = Date().timeIntervalSince1970
    let processes = try (0..<workers).map { _ in
      try surroundings.startWorker(database, topic: backlog.topic, group: group)
    }
    var firstCommit: Double?
    var locks = LockSamples()
    var progress = try look(connection, group)
    while progress.records < backlog.records {
      try await Task.sleep(for: Self.pace)
      progress = try look(connection, group)
      if firstCommit == nil && progress.records > 0 { firstCommit = (clock.now - began).seconds }
      if workers > 1 { try locks.take(connection) }
      if let ended = processes.first(where: \.hasEnded) {
        throw BenchFailure("a worker stopped at \(progress.records) records: \(ended.errors.suffix(2_000))")
      }
    }
    let whole = (clock.now - began).seconds
    let cpu = try processes.map { try ProcessUsage.cpuSeconds(of: $0.pid) }
    let peaks = try processes.map { try ProcessUsage.peakMiB(of: $0.pid) }
    for process in processes { try await surroundings.stop(process) }
    // Looking at the progress is no part of the work.
    let looking = try ProcessUsage.exactCPUSeconds(ofSingleThread: connection.backendPID) - lookingBefore
    try payDebts(connection)
    var usage = try surroundings.usage(connection) - before
    usage.cpuSeconds -= looking
    try database.check(connection, events: expected, areRolledUp: true)
    let firstPosition = progress.firstPositionAt - startedAt
    let stored = StoredRun(
      events: backlog.events, seconds: whole - firstPosition, usage: usage,
      vacuumCPUSeconds: try surroundings.vacuumCPUSeconds(connection), transactions: try batches(connection))
    return Outcome(
      stored: stored, secondsWithStart: whole, firstPositionAfter: firstPosition,
      firstCommitAfter: firstCommit ?? whole, workerCPU: cpu.reduce(0, +), peakMiB: peaks.max() ?? 0,
      lockShare: locks.share(ofBackends: workers), deadlocks: try deadlocks(connection))
  }

  /// Folds and refreshes what the coordinator had not come to, and settles what folds have put off: the events' whole
  /// cost is in.
  private func payDebts(_ connection: Connection) throws {
    let summaries = Summaries(connection: connection, schema: database.schema)
    for outcome in try summaries.refresh(nil, cause: "manual") {
      if let error = outcome.error {
        throw BenchFailure("refreshing \(outcome.view.rawValue) failed: \(error)")
      }
    }
    try summaries.settleDaySketches()
  }

  private func batches(_ connection: Connection) throws -> Int {
    let row = try connection.query(
      "SELECT coalesce(max(last_value), 1) FROM pg_sequences WHERE sequencename LIKE 'chat_telemetry_pending_batches%'",
      operation: "count the batches"
    ).rows[0]
    return Int(row.int(0))
  }

  private func deadlocks(_ connection: Connection) throws -> Int {
    let row = try connection.query(
      "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
      operation: "count the deadlocks"
    ).rows[0]
    return Int(row.int(0))
  }

  private struct Progress {
    var records: Int
    /// Seconds since 1970 by the server's clock, which is this machine's.
    var firstPositionAt: Double
  }

  private func look(_ connection: Connection, _ group: String) throws -> Progress {
    var parameters = Parameters()
    parameters.append(group)
    let row = try connection.query(
      """
      SELECT coalesce(sum(next_offset), 0)::bigint, extract(epoch FROM min(created_at)) FROM chat_telemetry_offsets
      WHERE consumer_group = $1
      """, parameters, operation: "look at the progress"
    ).rows[0]
    return Progress(records: Int(row.int(0)), firstPositionAt: Double(row.text(1)) ?? 0)
  }
}

/// How often the workers' backends were seen waiting for locks.
struct LockSamples {
  private var waiting = 0
  private var taken = 0

  mutating func take(_ connection: Connection) throws {
    let row = try connection.query(
      """
      SELECT count(*) FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND wait_event_type = 'Lock'
        AND application_name <> '\(Database.applicationName)'
      """, operation: "look who waits for locks"
    ).rows[0]
    waiting += Int(row.int(0))
    taken += 1
  }

  func share(ofBackends backends: Int) -> Double {
    taken == 0 ? 0 : Double(waiting) / Double(taken * backends)
  }
}

extension IngestRun.Outcome {
  /// Notes it all for each event.
  func record(in findings: inout Findings, as subject: Subject) {
    let count = Double(stored.events)
    stored.record(in: &findings, as: subject)
    findings.add(count / secondsWithStart, .rateWithStart, of: subject)
    findings.add(workerCPU / count * 1e6, .workerCPU, of: subject)
    findings.add(peakMiB, .peakMemory, of: subject)
  }
}
