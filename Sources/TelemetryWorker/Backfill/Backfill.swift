import Kafka
import Monitoring
import Pipeline
import Postgres
import Store

/// Finds or plans the job that a command line asks for.
struct Backfill {
  let settings: Settings
  let selection: BackfillSelection
  /// How far out of order records can be; nil is not known.
  let disorder: TimeSpan?
  private let jobs: BackfillJobs

  init(settings: Settings, selection: BackfillSelection, disorder: TimeSpan?) throws {
    self.settings = settings
    self.selection = selection
    self.disorder = disorder
    let schema = try settings.storeSchema()
    let connection = try Connection(settings.connectionOptions)
    try schema.refuseUnlessMigrated(connection)
    jobs = BackfillJobs(connection: connection, schema: schema)
  }

  // MARK: A dry run

  /// What would be read. Changes nothing.
  func plan() throws -> BackfillReport {
    if let job = try stored() {
      return BackfillReport(job, job.finishedAt == nil ? .planned : .finished)
    }
    let (job, plan) = try planned()
    return BackfillReport(job, .planned) { plan.gaps[$0.name] ?? 0 }
  }

  // MARK: The real thing

  enum Started {
    /// This process has the job now.
    case open(BackfillJob, BackfillClaim)
    /// The job was done before.
    case finished(BackfillReport)
  }

  func start() throws -> Started {
    let job = try stored() ?? enter()
    if job.finishedAt != nil { return .finished(BackfillReport(job, .finished)) }
    let claim = try jobs.takeUp(job.name)
    // Once more: until now another process may have moved it.
    return .open(try jobs.load(job.name) ?? job, claim)
  }

  // MARK: Within

  /// The stored job that is meant; nil when a new one is.
  private func stored() throws -> BackfillJob? {
    guard let name = selection.job else { return try automatic().job }
    guard let job = try jobs.load(name) else { return nil }
    let differences = selection.differences(from: job.request)
    guard differences.isEmpty else {
      throw CommandFailure(
        "backfill: the job \(name) replays something else: \(differences.joined(separator: "; ")). "
          + "Leave the options out to go on with it, or take another --job")
    }
    return job
  }

  /// The name of a backfill without one, and its job when that is not done.
  private func automatic() throws -> (name: String, job: BackfillJob?) {
    let request = try request()
    var number = 1
    while true {
      let name = BackfillSelection.name(of: request, number: number)
      guard let job = try jobs.load(name) else { return (name, nil) }
      if job.finishedAt == nil { return (name, job) }
      number += 1
    }
  }

  private func request() throws -> BackfillRequest {
    let request = selection.request(topics: settings.kafka.topics)
    if let pattern = request.topics.first(where: { $0.hasPrefix("^") }) {
      throw CommandFailure("backfill: \"\(pattern)\" is a pattern: name the topics with --topic")
    }
    return request
  }

  private func planned() throws -> (BackfillJob, ReplayPlan) {
    let request = try request()
    let name = try selection.job ?? automatic().name
    guard settings.kafka.group != BackfillJob.group(of: name) else {
      throw CommandFailure(
        "backfill: kafka.group is \(settings.kafka.group), which is what the job's positions are kept under: "
          + "take another --job")
    }
    let now = WallClock.now()
    let plan = try ReplayPlan.make(
      brokers: settings.brokerList, properties: settings.clientProperties, topics: request.topics,
      partitions: request.partitions, from: selection.from?.resolved(nowMicros: now) ?? .earliest,
      to: selection.to?.resolved(nowMicros: now) ?? .latest, disorderMs: disorder.map { $0.micros / 1_000 })
    return (
      BackfillJob(
        name: name, request: request, fromMs: plan.fromMs, toMs: plan.toMs, partitions: plan.partitions), plan
    )
  }

  /// Enters a new job, or finds that another process was faster.
  private func enter() throws -> BackfillJob {
    let (job, plan) = try planned()
    do throws(PostgresError) {
      try jobs.create(job, clusterID: plan.clusterID)
    } catch {
      guard error.sqlState == .uniqueViolation else { throw error }
      if let theirs = try stored() { return theirs }
      throw CommandFailure(
        "backfill: chat_telemetry_offsets holds positions of the consumer group \(job.group) that belong to no job: "
          + "delete them, or take another --job")
    }
    return try jobs.load(job.name) ?? job
  }
}
