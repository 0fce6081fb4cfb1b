import Kafka
import Monitoring
import Pipeline
import TestSupport
import Testing

@Suite("Records that are no events", .timeLimit(.minutes(2)))
struct RecordKindTests {
  @Test("Tombstones are counted and skipped, and a partition that has nothing else is read to its end")
  func tombstones() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    for number in 0..<40 { try stage.produce(nil, partition: 0, key: Array("key \(number)".utf8)) }
    try stage.produce(60, &random, &truth, partition: 1)
    try await stage.whileConsuming { worker in
      try await stage.drained(100)
      try await eventually("the outcomes are counted") { worker.events(.stored) == 60 }
      #expect(worker.events(.skipped) == 40)
      #expect(worker.metrics.consumer.records.series(stage.topic).value == 100)
      try await eventually("no lag is shown") { worker.lag == [0, 0] }
    }
    #expect(try stage.positions() == [40, 60])
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A malformed record becomes a dead letter with all it takes to look into it, and is never in the way")
  func deadLetters() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    try stage.produce(10, &random, &truth)
    let broken = Array("{\"id\": \"x\", \u{1}".utf8) + [0xFF]
    try stage.producer.produce(
      topic: stage.topic, partition: 0, key: [0, 1, 255], value: broken,
      headers: [Header("trace", value: Array("abc".utf8)), Header("none", value: nil)],
      timestampMs: 1_700_000_000_123)
    try stage.produce("{}", headers: [])
    try stage.produce(10, &random, &truth)
    try await stage.whileConsuming { worker in
      try await stage.drained(22)
      try await eventually("the outcomes are counted") { worker.events(.deadLetter) == 2 }
      #expect(worker.metrics.ingest.deadLetters.series(stage.topic, "missing_field").value == 1)
    }
    let letters = try stage.database.rows(
      """
      SELECT topic, partition, record_offset, encode(key, 'hex'), encode(payload, 'hex'), payload_bytes,
        reason, headers::text LIKE '%trace%' AND headers::text LIKE '%none%',
        (extract(epoch FROM record_timestamp) * 1000)::bigint, detail <> '', resolved_at
      FROM @.chat_telemetry_dead_letters ORDER BY record_offset
      """)
    let hex = broken.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    try #require(letters.count == 2)
    #expect(
      letters[0] == [
        stage.topic, "0", "10", "0001ff", hex, String(broken.count), "invalid_utf8", "t", "1700000000123",
        "t", nil,
      ])
    #expect(letters[1][2...6] == ["11", nil, "7b7d", "2", "missing_field"])
    #expect(letters[1][7] == nil, "a record without headers has none")
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test(
    "A row that the database refuses becomes a dead letter with its record's bytes, which are read again for it"
  )
  func refusedRow() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    // JSON allows the number, jsonb cannot hold it.
    let refused =
      #"{"session_id":"s","model":"m","created_at":\#(WallClock.now() / 1_000),"logs":[1e200000]}"#
    try stage.produce(100, &random, &truth)
    try stage.produce(refused)
    try stage.produce(100, &random, &truth)
    try await stage.whileConsuming { worker in
      try await stage.drained(201)
      try await eventually("the outcomes are counted") {
        worker.events(.deadLetter) == 1 && worker.events(.stored) == 200
      }
    }
    #expect(
      try stage.database.rows(
        "SELECT record_offset, reason, convert_from(payload, 'UTF8') FROM @.chat_telemetry_dead_letters")
        == [["100", "rejected_by_database", refused]])
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A record delivered again adds nothing: neither an event nor a dead letter")
  func repeats() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    try stage.produce(300, &random, &truth)
    try stage.produce("broken")
    try stage.flush()
    try await stage.whileConsuming { _ in try await stage.drained(301) }
    // As an operator does who wants a topic read once more.
    try stage.database.execute("UPDATE @.chat_telemetry_offsets SET next_offset = 0")
    try await stage.whileConsuming { worker in
      try await eventually("all are seen again") { worker.events(.duplicate) == 300 }
      try await stage.drained(301)
      #expect(worker.events(.stored) == 0)
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 1)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("What the group committed in Kafka equals what Postgres holds, after a clean stop")
  func committedInKafka() async throws {
    let stage = try Stage(partitions: 3)
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    try stage.produce(100, &random, &truth, partition: 0)
    try stage.produce(nil, partition: 2, key: [1])
    try stage.flush()
    try await stage.whileConsuming { _ in try await stage.drained(101) }
    let reader = try Consumer(brokers: stage.cluster.bootstrapServers, group: stage.settings.group)
    let partitions = (0..<3).map { TopicPartition(topic: stage.topic, partition: $0) }
    let committed = try reader.committedOffsets(of: partitions, timeoutMs: 10_000)
    #expect(try committed.filter { $0.offset > 0 }.map(\.offset) == stage.positions().filter { $0 > 0 })
    #expect(try stage.positions() == [100, 0, 1])
  }
}
