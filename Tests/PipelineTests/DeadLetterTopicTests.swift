import Kafka
import Monitoring
import Pipeline
import Postgres
import TestSupport
import Testing

@Suite("The topic that dead letters are copied to", .timeLimit(.minutes(2)))
struct DeadLetterTopicTests {
  private let stage: Stage
  private let copies = "chat-telemetry.dead-letters"

  init() throws {
    stage = try Stage()
    try stage.cluster.createTopic(copies, partitions: 1)
  }

  private var settings: IngestSettings {
    var settings = stage.settings
    settings.deadLetterTopic = copies
    return settings
  }

  private struct Copy: Equatable {
    var key: [UInt8]?
    var value: [UInt8]?
    var headers: [Header]

    subscript(_ name: String) -> String? {
      headers.first { $0.name == "x-telemetry-\(name)" }?.value.map { String(decoding: $0, as: UTF8.self) }
    }
  }

  /// All that is in the topic.
  private func read() throws -> [Copy] {
    let reader = try Consumer(brokers: stage.cluster.bootstrapServers, group: "reader")
    let partition = TopicPartition(topic: copies, partition: 0)
    try reader.assign([PartitionOffset(partition, offset: PartitionOffset.beginning)])
    var found: [Copy] = []
    while true {
      let result = reader.poll(timeoutMs: 10_000) { record in
        found.append(
          Copy(
            key: record.key.map { Array($0) }, value: record.value.map { Array($0) },
            headers: record.headers()))
      }
      switch result {
      case .record: continue
      case .endOfPartition: return found
      default: throw TimedOut(what: "the end of the dead letters' topic: \(result)")
      }
    }
  }

  @Test(
    "A copy has the record's key, value and headers, and more headers that say where it was and what is wrong"
  )
  func copiesWhole() async throws {
    let broken: [UInt8] = Array("{\"id\": 1, ".utf8) + [0xFF, 0]
    let headers = [
      Header("trace", value: Array("a\"b".utf8)), Header("binary", value: [0, 255]),
      Header("none", value: nil),
    ]
    try stage.producer.produce(
      topic: stage.topic, partition: 0, key: [0, 1, 255], value: broken, headers: headers,
      timestampMs: 1_700_000_000_123)
    try stage.produce("[]")
    try stage.flush()
    try await stage.whileConsuming(settings) { worker in
      try await stage.drained(2)
      #expect(worker.metrics.ingest.deadLetterCopies.series("delivered").value == 2)
    }
    let found = try read()
    try #require(found.count == 2)
    #expect(found[0].key == [0, 1, 255] && found[0].value == broken)
    #expect(Array(found[0].headers.prefix(3)) == headers)
    let detail = try stage.database.rows(
      "SELECT detail FROM @.chat_telemetry_dead_letters WHERE record_offset = 0")[0][0]
    #expect(found[0]["reason"] == "invalid_utf8" && found[0]["detail"] == detail)
    #expect(found[0]["original-topic"] == stage.topic && found[0]["original-partition"] == "0")
    #expect(found[0]["original-offset"] == "0" && found[0]["original-timestamp"] == "1700000000123")
    #expect(found[0].headers.count == 9)
    #expect(
      found[1].key == nil && found[1].value == Array("[]".utf8) && found[1]["reason"] == "not_an_object")
  }

  /// 29 is TOPIC_AUTHORIZATION_FAILED of Kafka's protocol.
  @Test("While the topic refuses them nothing is committed and nothing skipped; afterwards each is there")
  func refused() async throws {
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try stage.produce(20, &random, &truth)
    try stage.produce("{")
    try stage.flush()
    stage.cluster.setTopicError(copies, 29)
    try await stage.whileConsuming(settings) { worker in
      try await eventually("copying has failed twice") {
        worker.metrics.ingest.deadLetterCopies.series("failed").value >= 2
      }
      #expect(try stage.positions() == [0])
      #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 0)
      #expect(worker.health.obstacles["dead_letters.topic"]?.contains(copies) == true)
      stage.cluster.setTopicError(copies, 0)
      try await stage.drained(21)
      #expect(worker.health.isReady && worker.databaseErrors(.retry) == 0)
    }
    #expect(try read().map { $0["original-offset"] } == ["20"])
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 1)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test(
    "What only the database refuses is copied as well, before it is committed, and once though that is tried again"
  )
  func late() async throws {
    try stage.database.execute(
      "ALTER TABLE @.chat_telemetry ADD CONSTRAINT no_session CHECK (session_id <> 'refused') NOT VALID")
    try stage.produce(#"{"session_id":"refused","model":"m","created_at":\#(stage.nowMs)}"#)
    try stage.produce("{")
    try stage.flush()
    let holder = try stage.database.connect()
    try holder.execute(
      stage.database.sql("BEGIN; LOCK TABLE @.chat_telemetry_dead_letters"), operation: "hold the worker up")
    try await stage.whileConsuming(settings) { worker in
      try await eventually("both are copied") {
        worker.metrics.ingest.deadLetterCopies.series("delivered").value == 2
      }
      #expect(try stage.positions() == [0])
      try stage.terminateBackends()
      try await eventually("the batch is tried again") { worker.databaseErrors(.retry) > 0 }
      try holder.execute("ROLLBACK", operation: "let go")
      try await stage.drained(2)
    }
    #expect(try read().map { $0["reason"] } == ["invalid_json", "rejected_by_database"])
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 2)
  }

  @Test("A record that its headers make too large for the brokers is copied without its value")
  func tooLarge() async throws {
    var large = settings
    large.properties["message.max.bytes"] = "100000"
    let value = String(repeating: "x", count: 99_990)
    try stage.produce(value, key: Array("k".utf8))
    try stage.produce(String(value.dropLast(2_000)), key: Array("k".utf8))
    try stage.flush()
    try await stage.whileConsuming(large) { _ in try await stage.drained(2) }
    let found = try read()
    try #require(found.count == 2)
    #expect(found[0].value == nil && found[0].key == Array("k".utf8))
    #expect(found[0]["value-omitted-bytes"] == "99990" && found[0]["reason"] == "invalid_json")
    #expect(found[1].value?.count == 97_990 && found[1]["value-omitted-bytes"] == nil)
  }
}
