import Glibc
import Kafka
import Postgres
import Store
import TestSupport
import Testing

/// Most of their time these wait for the mock cluster, which lets a rebalance take the session timeout less a second,
/// and for as long before that when a member was killed.
@Suite("The program as a process", .timeLimit(.minutes(3)))
struct ProcessTests {
  @Test("A worker killed at random moments loses nothing and repeats nothing", arguments: [UInt64(1)])
  func killed(seed: UInt64) async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: seed)
    var truth = Truth()
    for _ in 1...4 {
      try stage.produce(3_000, &random, &truth)
      let worker = try stage.start()
      let goal = try stage.positions().reduce(0, +) + .random(in: 1...2_500, using: &random)
      try await eventually("it has come a little further") { try stage.positions().reduce(0, +) >= goal }
      try await Task.sleep(for: .milliseconds(.random(in: 0...40, using: &random)))
      try await worker.killHard()
    }
    try await finish(stage, truth)
  }

  @Test("One of two workers killed again and again takes nothing with it")
  func oneOfTwo() async throws {
    let stage = try Stage(partitions: 4)
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    let steady = try stage.start()
    for _ in 1...3 {
      let other = try stage.start()
      try stage.produce(2_000, &random, &truth)
      try await eventually("the other has partitions, and all goes on") {
        try stage.produce(50, &random, &truth)
        return other.errors.contains("partitions assigned")
      }
      try await other.killHard()
    }
    #expect(!steady.hasEnded)
    try await stage.drained(truth.count)
    steady.send(SIGTERM)
    #expect(try await steady.end() == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }

  /// Lets a last worker read to the end and stops it cleanly.
  private func finish(_ stage: Stage, _ truth: Truth) async throws {
    let last = try stage.start()
    // There may be nothing left to read; a signal before it is up would just end it.
    try await eventually("it is at work") { last.errors.contains("partitions assigned") }
    try await stage.drained(truth.count)
    last.send(SIGTERM)
    #expect(try await last.end() == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("SIGTERM and SIGINT under load write what is in hand and exit with 0", arguments: [SIGTERM, SIGINT])
  func stops(signal: Int32) async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    try stage.produce(20_000, &random, &truth)
    let worker = try stage.start()
    try await eventually("it works") { try stage.positions().reduce(0, +) > 0 }
    worker.send(signal)
    #expect(try await worker.end() == 0)
    #expect(worker.errors.contains("worker stopped"))
    #expect(
      try stage.positions().reduce(0, +) == stage.database.number("SELECT count(*) FROM @.chat_telemetry"))
    try await finish(stage, truth)
  }

  @Test("A stop while the database hangs exits with 0 in time, and a second signal ends it at once")
  func stopsWhileDatabaseHangs() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 5)
    var truth = Truth()
    try stage.produce(10, &random, &truth)
    let holder = try stage.database.connect()
    for (deadline, signals, code) in [("2", 1, Int32(0)), ("3600", 2, 1)] {
      // Not the positions: a worker that has none yet has nothing in hand, and stops at once.
      try holder.execute(
        "BEGIN; LOCK TABLE \(stage.database.schema.rawTable) IN EXCLUSIVE MODE",
        operation: "hold the worker up")
      let worker = try stage.start(["TELEMETRY_INGEST_SHUTDOWN_DEADLINE_S": deadline])
      try await eventually("it waits for the lock") { try stage.isWaitingForLock }
      for number in 1...signals {
        worker.send(SIGTERM)
        // Two signals sent at once are one.
        if number < signals { try await eventually("it stops") { worker.errors.contains("stopping") } }
      }
      let ended = try await worker.end()
      #expect(ended == code, "\(worker.errors.suffix(1_000))")
      try holder.execute("ROLLBACK", operation: "let go")
    }
  }

  @Test("A wrong setting exits with 78 and names it")
  func wrongSetting() async throws {
    let worker = try WorkerProcess(["run", "--set", "ingest.flush_ms=soon"], environment: [:])
    #expect(try await worker.end() == 78)
    #expect(worker.errors.contains("ingest.flush_ms"))
  }

  @Test("A schema that was not migrated exits with 1 and says what to do")
  func notMigrated() async throws {
    let stage = try Stage(database: TestDatabase(migrated: false))
    let worker = try stage.start()
    #expect(try await worker.end() == 1)
    #expect(worker.errors.contains("run telemetry-worker migrate"))
  }

  @Test("A database that is not there yet is waited for")
  func waitsForDatabase() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try Stage(database: TestDatabase(on: server))
    var random = SeededGenerator(seed: 5)
    var truth = Truth()
    try stage.produce(100, &random, &truth)
    try server.stop()
    let worker = try stage.start()
    try await eventually("it has tried") { worker.errors.contains("database error") }
    try server.start()
    try await stage.drained(100)
    worker.send(SIGTERM)
    #expect(try await worker.end() == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }
}

extension Stage {
  /// Starts a worker process on this stage.
  func start(
    _ variables: [String: String] = [:], arguments: [String] = ["run"]
  ) throws -> WorkerProcess {
    // Less than the mock cluster's first wait of 3 s, and no member could ever join it.
    let properties = ["session.timeout.ms=3500", "heartbeat.interval.ms=200"]
    let environment = [
      "TELEMETRY_KAFKA_BROKERS": cluster.bootstrapServers, "TELEMETRY_KAFKA_TOPICS": topic,
      "TELEMETRY_KAFKA_PROPERTIES": properties.joined(separator: ","),
      "TELEMETRY_POSTGRES_URL": database.options.conninfo,
      "TELEMETRY_POSTGRES_SCHEMA": database.schema.name, "TELEMETRY_HTTP_PORT": "0",
      // So that a batch of a backlog has several parts.
      "TELEMETRY_INGEST_BATCH_EVENTS": "600", "TELEMETRY_INGEST_BATCH_BYTES": "65536",
      "TELEMETRY_INGEST_FLUSH_MS": "50",
      "PGAPPNAME": backends,
    ]
    return try WorkerProcess(arguments, environment: environment.merging(variables) { $1 })
  }

  /// Whether a worker waits for a lock that somebody else holds.
  var isWaitingForLock: Bool {
    get throws {
      try database.number(
        """
        SELECT count(*) FROM pg_stat_activity
        WHERE application_name = '\(backends)' AND wait_event_type = 'Lock'
        """) > 0
    }
  }
}
