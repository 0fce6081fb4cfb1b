import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("The jobs of backfills")
struct BackfillJobTests {
  private let stage: Stage
  private let options: ConnectionOptions
  private let name = TopicPartitionName(topic: Stage.topic, partition: 0)

  /// As a worker's role, which owns nothing.
  init() throws {
    stage = try Stage()
    let role = stage.database.role("backfiller")
    try stage.database.rows("CREATE ROLE \(role) LOGIN")
    try Grants(schema: stage.database.schema).give(to: role, try stage.database.connect())
    options = stage.database.options(user: role)
  }

  private func jobs() throws -> BackfillJobs {
    BackfillJobs(connection: try Connection(options), schema: stage.database.schema)
  }

  private func job(_ name: String = "job", from: String = "10") -> BackfillJob {
    let others = (1...2).map {
      BackfillPartition(name: TopicPartitionName(topic: Stage.topic, partition: $0), start: 0, end: 0)
    }
    return BackfillJob(
      name: name,
      request: BackfillRequest(
        topics: [Stage.topic, "other"], partitions: [0, 1, 2], from: from, to: "latest"),
      fromMs: 1_772_323_200_001, toMs: nil,
      partitions: [BackfillPartition(name: self.name, start: 10, end: 510)] + others)
  }

  private func store(_ claim: BackfillClaim) throws -> BatchStore {
    BatchStore(
      connection: try Connection(options), options: options, schema: stage.database.schema,
      group: BackfillJob.group(of: claim.job), recentKeys: 10, claim: claim, onHolderEnded: { _, _ in })
  }

  /// Writes records behind the position, as a backfill does.
  private func write(
    _ store: BatchStore, _ values: [String], from: Int64, passed: PassedRecords = PassedRecords()
  ) throws -> WriteOutcome {
    let batch = EventBatch()
    var decoder = EventDecoder(rules: DecodingRules())
    let delivery = Delivery(from: from, values: values)
    delivery.decode(into: batch, &decoder)
    var advance = delivery.advance
    advance.passed = passed
    return try store.write(batch, advances: [advance], nowMicros: Stage.nowMs * 1_000)
  }

  @Test("A job is found again as it was entered")
  func entered() throws {
    let jobs = try jobs()
    #expect(try jobs.load("job") == nil)
    try jobs.create(job(), clusterID: "cluster")
    var found = try #require(try jobs.load("job"))
    #expect(found.startedAt != nil && found.finishedAt == nil)
    found.startedAt = nil
    #expect(found == job())
    #expect(found.remaining == 500)
    var all = job("all")
    all.request.partitions = nil
    try jobs.create(all, clusterID: nil)
    #expect(try jobs.load("all")?.request.partitions == nil)
  }

  @Test("A name is given once, and a refused job leaves nothing")
  func enteredOnce() throws {
    let jobs = try jobs()
    try jobs.create(job(), clusterID: nil)
    let error = try #require(throws: PostgresError.self) { try jobs.create(job(from: "20"), clusterID: nil) }
    #expect(error.sqlState == .uniqueViolation)
    #expect(try jobs.load("job")?.request.from == "10")
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_backfill_jobs") == 1)
  }

  @Test("What became of the records is counted in the transaction that stores them")
  func counts() throws {
    let jobs = try jobs()
    try jobs.create(job(), clusterID: nil)
    let store = try store(try jobs.takeUp("job"))
    let events = stage.events(50, seed: 1)
    var passed = PassedRecords()
    (passed.skipped, passed.repeated, passed.outOfRange, passed.missing) = (1, 2, 3, 4)
    _ = try write(store, events.map(\.json) + ["bad"], from: 10, passed: passed)
    _ = try write(store, stage.events(60, seed: 1).map(\.json), from: 61)
    let counts = try #require(try jobs.load("job")).counts
    #expect([counts.stored, counts.duplicate, counts.deadLetter] == [60, 52, 1])
    #expect([counts.skipped, counts.outOfRange, counts.missing] == [1, 3, 4])
    #expect(try jobs.load("job")?.partitions[0].next == 121)
    #expect(try stage.truth(stage.events(60, seed: 1)).differences(in: stage.database) == [])
  }

  @Test("Once another process has taken a job up, the first one stores, counts and finishes nothing")
  func takenOver() throws {
    let jobs = try jobs()
    try jobs.create(job(), clusterID: nil)
    let first = try jobs.takeUp("job")
    let events = stage.events(30, seed: 2).map(\.json)
    _ = try write(try store(first), Array(events[..<10]), from: 10)
    let second = try jobs.takeUp("job")
    let store = try store(first)
    #expect(throws: BackfillTakenOver.self) { try write(store, Array(events[10...]), from: 20) }
    #expect(throws: BackfillTakenOver.self) { try jobs.finish(first) }
    #expect(try stage.storedCount == 10)
    #expect(try jobs.load("job")?.counts.stored == 10)
    _ = try write(try self.store(second), Array(events[10...]), from: 20)
    try jobs.finish(second)
    #expect(try jobs.load("job")?.counts.stored == 30)
    #expect(try jobs.load("job")?.finishedAt != nil)
  }

  @Test("A batch that is being written is waited for before the job is taken up")
  func waits() async throws {
    let jobs = try jobs()
    try jobs.create(job(), clusterID: nil)
    _ = try jobs.takeUp("job")
    let holder = try stage.database.connect()
    try holder.execute(
      stage.database.sql("BEGIN; SELECT FROM @.chat_telemetry_backfill_jobs FOR SHARE"), operation: "hold")
    nonisolated(unsafe) let other = try Connection(options)
    let pid = other.backendPID
    let taking = Background { [schema = stage.database.schema] in
      try BackfillJobs(connection: other, schema: schema).takeUp("job").run
    }
    try await stage.database.untilBlocked(pid)
    try holder.execute("COMMIT", operation: "let go")
    #expect(try await taking.value == 2)
  }
}
