import Kafka
import Monitoring
import Pipeline
import Postgres
import Store
import TestSupport
import Testing

@Suite("Positions moved by somebody else", .timeLimit(.minutes(2)))
struct FencingTests {
  private func settings(_ stage: Stage) -> IngestSettings {
    var settings = stage.settings
    settings.batchEvents = 400
    return settings
  }

  @Test("Positions set back again and again while a worker runs cost repeats and nothing else")
  func setBack() async throws {
    let stage = try Stage(partitions: 3)
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try await stage.whileConsuming(settings(stage)) { worker in
      for round in 1...5 {
        try stage.produce(2_000, &random, &truth)
        try await eventually("half of it is there") {
          try stage.positions().reduce(0, +) > round * 2_000 - 1_000
        }
        // In the worker's order: otherwise one of the two may lose a deadlock, and it may be this one.
        try stage.database.execute(
          """
          WITH locked AS MATERIALIZED (
            SELECT partition FROM @.chat_telemetry_offsets ORDER BY partition FOR UPDATE
          )
          UPDATE @.chat_telemetry_offsets SET next_offset = greatest(0, next_offset - 150 * (partition + 1))
          WHERE partition IN (SELECT partition FROM locked)
          """)
      }
      try stage.produce(2_000, &random, &truth)
      try await stage.drained(12_000)
      #expect(worker.events(.duplicate) > 0, "the worker has read again what it was sent back to")
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A worker that loses a deadlock over positions moved by hand goes on from where they were moved")
  func deadlock() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    let other = try stage.database.connect()
    let offsets = stage.database.schema.offsetsTable
    func produce() throws {
      for partition in Int32(0)..<2 { try stage.produce(1_000, &random, &truth, partition: partition) }
    }
    try await stage.whileConsuming(settings(stage)) { worker in
      try produce()
      try await stage.drained(2_000)
      // The worker locks the first partition, and waits for the second; it waits first, so it finds the deadlock.
      try other.execute(
        "BEGIN; UPDATE \(offsets) SET next_offset = next_offset - 100 WHERE partition = 1",
        operation: "set back")
      try produce()
      try await eventually("it waits for the lock") { try stage.isWaitingForLock }
      try other.execute(
        "UPDATE \(offsets) SET next_offset = next_offset - 100 WHERE partition = 0; COMMIT",
        operation: "set back")
      try await stage.drained(4_000)
      #expect(worker.databaseErrors(.retry) > 0)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("Of a position set forward the worker stores nothing from before")
  func setForward() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    var elsewhere = Truth()
    try await stage.whileConsuming(settings(stage)) { _ in
      try stage.produce(100, &random, &truth)
      try await stage.drained(100)
      try stage.database.execute("UPDATE @.chat_telemetry_offsets SET next_offset = 150")
      try stage.produce(50, &random, &elsewhere)
      try stage.produce(50, &random, &truth)
      try await stage.drained(200)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A position that stands where the batch would move it is taken for a COMMIT whose reply was lost")
  func alreadyThere() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    try stage.produce(200, &random, &truth)
    var settings = settings(stage)
    settings.flushMs = 3_600_000
    let worker = RunningIngest(settings)
    try await eventually("the records are in hand") { worker.metrics.ingest.bufferEvents.value == 200 }
    // Another worker does the same and commits first.
    var other = stage.settings
    other.group = "another"
    try await stage.whileConsuming(other) { _ in try await stage.drained(200) }
    try await worker.stop()
    #expect(try stage.positions() == [200])
    #expect(worker.events(.stored) == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }
}
