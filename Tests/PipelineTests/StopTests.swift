import Kafka
import Monitoring
import Pipeline
import Postgres
import Store
import TestSupport
import Testing

@Suite("Stopping", .timeLimit(.minutes(2)))
struct StopTests {
  @Test("What is in hand is written at once when a stop is asked for, however long a batch may wait")
  func writesWhatIsInHand() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    try stage.produce(500, &random, &truth)
    var settings = stage.settings
    settings.flushMs = 3_600_000
    // Or a part of them would be full, and leave.
    settings.batchBytes = 1 << 24
    let worker = RunningIngest(settings)
    try await eventually("the records are in hand") { worker.metrics.ingest.bufferEvents.value == 500 }
    #expect(try stage.isDrained(0))
    try await worker.stop()
    #expect(try stage.isDrained(500))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A worker stopped under load stores whole batches, and the next one goes on behind them")
  func stopsUnderLoad() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    try stage.produce(20_000, &random, &truth)
    var settings = stage.settings
    settings.batchEvents = 500
    let first = RunningIngest(settings)
    try await eventually("some are stored") { first.events(.stored) > 2_000 }
    try await first.stop()
    let stored = try stage.database.number("SELECT count(*) FROM @.chat_telemetry")
    #expect(try stage.positions().reduce(0, +) == stored)
    #expect(first.events(.stored) == Int(stored))
    let second = try await stage.whileConsuming { worker in
      try await stage.drained(20_000)
      return worker
    }
    #expect(second.events(.stored) == 20_000 - Int(stored))
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A stop ends although the database is held up, and loses nothing")
  func stopsWhileDatabaseHangs() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 5)
    var truth = Truth()
    var settings = stage.settings
    settings.shutdownDeadlineSeconds = 2
    let worker = RunningIngest(settings)
    try await eventually("the worker has its partition") { worker.health.isReady }
    let holder = try stage.database.connect()
    try holder.execute(
      "BEGIN; LOCK TABLE \(stage.database.schema.rawTable)", operation: "hold the worker up")
    try stage.produce(500, &random, &truth)
    try await eventually("the worker waits for the lock") {
      try stage.isWaitingForLock
    }
    // Returns while the lock is still held: else the suite's time limit ends this.
    try await worker.stop()
    #expect(try stage.isDrained(0))
    try holder.execute("ROLLBACK", operation: "let go")
    try await stage.whileConsuming { _ in try await stage.drained(500) }
    #expect(try truth.differences(in: stage.database) == [])
  }
}
