import Pipeline
import TestSupport
import Testing

@Suite("The main path, from Kafka to the tables", .timeLimit(.minutes(3)))
struct IngestTests {
  @Test(
    "Every event is stored once and the rollups equal a truth computed apart, whatever is delivered twice")
  func storesEverythingOnce() async throws {
    let stage = try Stage(partitions: 3)
    var random = SeededGenerator(seed: 7)
    var truth = Truth()
    var sent: [TestEvent] = []
    for _ in 0..<20_000 {
      let event =
        sent.isEmpty || Int.random(in: 0..<50, using: &random) > 0
        ? TestEvent.random(&random, nowMs: stage.nowMs) : sent.randomElement(using: &random)!
      sent.append(event)
      truth.add(event)
      try stage.produce(event.json)
    }
    try stage.flush()
    try await stage.whileConsuming { _ in try await stage.drained(sent.count) }
    #expect(try truth.differences(in: stage.database) == [])
    #expect(truth.count < sent.count)
  }

  @Test("A backlog is stored in transactions larger than what is kept in memory")
  func largeBatches() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 8)
    var truth = Truth()
    try stage.produce(12_000, &random, &truth)
    var settings = stage.settings
    settings.batchEvents = 5_000
    try await stage.whileConsuming(settings) { _ in try await stage.drained(12_000) }
    #expect(try truth.differences(in: stage.database) == [])
    // In parts of 64 KiB, which hold some 250 of these events, it would be about 50.
    let batches = try stage.database.rows(
      "SELECT count(*) < 20, max(events) > 1000, sum(events) FROM @.chat_telemetry_pending_batches")
    #expect(batches == [["t", "t", "12000"]])
  }
}
