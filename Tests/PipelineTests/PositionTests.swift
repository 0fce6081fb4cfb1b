import Kafka
import Monitoring
import Pipeline
import Postgres
import Store
import TestSupport
import Testing

@Suite("Where reading starts and goes on", .timeLimit(.minutes(2)))
struct PositionTests {
  @Test("With kafka.start=latest a new group stores what comes from now on, from every partition")
  func latest() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 1)
    var before = Truth()
    var after = Truth()
    try stage.produce(50, &random, &before, partition: 0)
    var settings = stage.settings
    settings.start = .latest
    try await stage.whileConsuming(settings) { worker in
      try await eventually("both positions are there") { try stage.positions().count == 2 }
      try await eventually("the worker is ready") { worker.health.isReady }
      try stage.produce(30, &random, &after, partition: 0)
      try stage.produce(20, &random, &after, partition: 1)
      try await stage.drained(100)
    }
    #expect(try after.differences(in: stage.database) == [])
    #expect(
      try stage.database.rows("SELECT start_offset FROM @.chat_telemetry_offsets ORDER BY partition")
        == [["50"], ["0"]])
  }

  /// The mock cluster cannot add partitions to a topic: the position of one is taken away instead, as if it was new.
  @Test("A partition that a known topic gets later starts at its beginning, also with kafka.start=latest")
  func laterPartition() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    try stage.produce(50, &random, &truth, partition: 1)
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset)
      VALUES ('test', '\(stage.topic)', 0, 0, 0)
      """)
    var settings = stage.settings
    settings.start = .latest
    try await stage.whileConsuming(settings) { _ in try await stage.drained(50) }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A position behind the broker's oldest record is continued there, and the gap is counted")
  func gapAtStart() async throws {
    let stage = try Stage()
    try stage.pushOut(records: 80)
    let low = try stage.low()
    try #require(low > 0)
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    try stage.produce(20, &random, &truth)
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset)
      VALUES ('test', '\(stage.topic)', 0, 1, 0)
      """)
    try await stage.whileConsuming { worker in
      try await stage.drained(100)
      #expect(worker.metrics.consumer.offsetGapRecords.value == Int(low) - 1)
      try await eventually("the outcomes are counted") { worker.events(.stored) == 20 }
      #expect(worker.events(.skipped) == 80 - Int(low))
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  /// TOPIC_AUTHORIZATION_FAILED: an answer that librdkafka does not ask again for by itself.
  @Test(
    "Records deleted while the database was held up are a counted gap, also when the brokers first refuse to say",
    arguments: [[], [29, 29]])
  func gapWhileRunning(refusals: [Int32]) async throws {
    let stage = try Stage()
    var settings = stage.settings
    settings.batchEvents = 5
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    try await stage.whileConsuming(settings) { worker in
      try await eventually("the worker is ready") { worker.health.isReady }
      let holder = try stage.database.connect()
      try holder.execute(
        "BEGIN; LOCK TABLE \(stage.database.schema.offsetsTable)", operation: "hold the worker up")
      try stage.pushOut(records: 150)
      let low = try stage.low()
      try #require(low > 20)
      try stage.produce(20, &random, &truth)
      stage.cluster.pushRequestErrors(.listOffsets, refusals)
      try holder.execute("ROLLBACK", operation: "let go")
      try await stage.drained(170)
      #expect(worker.events(.skipped) + worker.metrics.consumer.offsetGapRecords.value == 150)
      #expect(worker.metrics.consumer.offsetGapRecords.value > 0)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A position beyond the partition's end ends the worker, which stores nothing")
  func beyondEnd() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 5)
    var truth = Truth()
    try stage.produce(30, &random, &truth, partition: 0)
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset)
      VALUES ('test', '\(stage.topic)', 0, 0, 0), ('test', '\(stage.topic)', 1, 7, 0)
      """)
    let expected = PositionError.beyondEnd(
      partition: TopicPartition(topic: stage.topic, partition: 1), position: 7, end: 0)
    await #expect(throws: expected) { try await RunningIngest(stage.settings).end() }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 0)
    #expect(try stage.positions() == [0, 7])
  }

  @Test("Positions of another cluster end the worker before anything is stored or inserted")
  func otherCluster() async throws {
    let stage = try Stage(partitions: 2)
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset, cluster_id)
      VALUES ('test', '\(stage.topic)', 0, 0, 0, 'elsewhere')
      """)
    do {
      try await RunningIngest(stage.settings).end()
      Issue.record("the worker accepted positions of another cluster")
    } catch PositionError.otherCluster(let partition, let stored, let found) {
      #expect(partition.partition == 0 && stored == "elsewhere" && found != stored)
    }
    #expect(try stage.positions() == [0])
  }

  @Test("A schema without the migrations, or a newer one, ends the worker with what to do about it")
  func schema() async throws {
    let stage = try Stage(database: TestDatabase(migrated: false))
    await #expect(throws: SchemaNotMigrated.self) { try await RunningIngest(stage.settings).end() }
    try stage.database.schema.migrationRunner.run(stage.database.connect())
    try stage.database.execute(
      "INSERT INTO @.chat_telemetry_migrations (version, name, checksum) VALUES (999, 'later', '')")
    await #expect(throws: MigrationError.self) { try await RunningIngest(stage.settings).end() }
  }
}

extension Stage {
  /// Produces so many tombstones of 100 KB to partition 0: the mock cluster keeps 5 MiB of a partition.
  func pushOut(records: Int) throws {
    for _ in 0..<records { try produce(nil, partition: 0, key: [UInt8](repeating: 120, count: 100_000)) }
    try flush()
  }

  /// The oldest offset that partition 0 still has.
  func low() throws -> Int64 {
    let reader = try Consumer(brokers: cluster.bootstrapServers, group: "reader")
    return try reader.watermarks(of: TopicPartition(topic: topic, partition: 0), timeoutMs: 10_000).low
  }
}
