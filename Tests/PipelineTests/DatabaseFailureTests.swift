import Kafka
import Monitoring
import Pipeline
import Postgres
import Store
import TestSupport
import Testing

@Suite("A database that fails", .timeLimit(.minutes(2)))
struct DatabaseFailureTests {
  private func settings(_ stage: Stage) -> IngestSettings {
    var settings = stage.settings
    settings.batchEvents = 500
    return settings
  }

  @Test("Connections cut again and again under load lose nothing, repeat nothing and reject nothing")
  func connectionsCut() async throws {
    let stage = try Stage(partitions: 2)
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try stage.produce(15_000, &random, &truth)
    try await stage.whileConsuming(settings(stage)) { worker in
      for _ in 1...8 {
        let before = worker.events(.stored)
        try await eventually("it goes on") { worker.events(.stored) > before }
        // What a batch before the last cut has stored may be counted only now, while there is no connection to cut.
        try await eventually("a connection is cut") { try stage.terminateBackends() > 0 }
      }
      try await stage.drained(15_000)
      #expect(worker.databaseErrors(.retry) >= 7)
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test(
    "A transaction that fails at its end while the connection lives is written again, whole",
    arguments: ["40001", "40P01", "53100", "55P03", "57014", "P0001"])
  func failsAtTheEnd(sqlState: String) async throws {
    let stage = try Stage()
    try stage.database.execute(
      """
      CREATE FUNCTION @.fail() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '\(sqlState)'; END $$;
      CREATE TRIGGER fail BEFORE UPDATE ON @.chat_telemetry_offsets EXECUTE FUNCTION @.fail();
      """)
    var random = SeededGenerator(seed: 2)
    var truth = Truth()
    try stage.produce(300, &random, &truth)
    try stage.produce("broken")
    try stage.flush()
    try await stage.whileConsuming(settings(stage)) { worker in
      try await eventually("it fails twice") {
        worker.databaseErrors(sqlState == "P0001" ? .pause : .retry) >= 2
      }
      #expect(!worker.health.isReady)
      try stage.database.execute("DROP TRIGGER fail ON @.chat_telemetry_offsets")
      try await stage.drained(301)
      try await eventually("it is well again") { worker.health.isReady && worker.events(.stored) == 300 }
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 1)
    #expect(try truth.differences(in: stage.database) == [])
  }

  @Test("A database held up for longer than the session timeout costs no membership and no memory")
  func backpressure() async throws {
    let stage = try Stage(partitions: 2)
    var settings = settings(stage)
    settings.properties["session.timeout.ms"] = "3500"
    settings.properties["max.poll.interval.ms"] = "4000"
    var random = SeededGenerator(seed: 3)
    var truth = Truth()
    try await stage.whileConsuming(settings) { worker in
      try await eventually("it has its partitions") { worker.assigned == 2 && worker.health.isReady }
      let holder = try stage.database.connect()
      try holder.execute(
        "BEGIN; LOCK TABLE \(stage.database.schema.offsetsTable)", operation: "hold the worker up")
      try stage.produce(10_000, &random, &truth)
      // The promise is about this time passing.
      try await Task.sleep(for: .seconds(6))
      let buffered = worker.metrics.ingest.bufferEvents.value
      // The batch with the writer and the one that is being filled.
      #expect((1...1_200).contains(buffered))
      #expect(worker.rebalances(.revoked) + worker.rebalances(.lost) == 0)
      try holder.execute("ROLLBACK", operation: "let go")
      try await stage.drained(10_000)
      #expect(worker.rebalances(.assigned) == 1)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }
}

@Suite("A server that goes away", .timeLimit(.minutes(2)), .serialized)
struct ServerFailureTests {
  @Test("A server that crashes, restarts and turns read-only under load loses nothing")
  func restarts() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try Stage(partitions: 2, database: TestDatabase(on: server))
    var settings = stage.settings
    settings.batchEvents = 200
    var random = SeededGenerator(seed: 4)
    var truth = Truth()
    try await stage.whileConsuming(settings) { worker in
      for round in 1...3 {
        try stage.produce(4_000, &random, &truth)
        let before = worker.events(.stored)
        try await eventually("it works") { worker.events(.stored) > before }
        let failures = worker.databaseErrors(.retry)
        try await breakAndMend(server, stage, round) {
          try await eventually("the failure is felt") { worker.databaseErrors(.retry) > failures }
        }
      }
      try await stage.drained(12_000)
      #expect(worker.rebalances(.assigned) == 1 && worker.rebalances(.revoked) == 0)
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 0)
    #expect(try truth.differences(in: stage.database) == [])
  }

  private func breakAndMend(
    _ server: PrivateServer, _ stage: Stage, _ round: Int, whileBroken: () async throws -> Void
  ) async throws {
    if round == 2 {
      try stage.database.execute("ALTER SYSTEM SET default_transaction_read_only = on")
      try stage.database.execute("SELECT pg_reload_conf()")
      try await whileBroken()
      try stage.database.execute("ALTER SYSTEM RESET default_transaction_read_only")
      try stage.database.execute("SELECT pg_reload_conf()")
    } else {
      try server.stop(round == 1 ? .immediate : .fast)
      try await whileBroken()
      try server.start()
    }
  }

  @Test("A stop ends although the server is gone, and the next worker stores what was in hand")
  func stopsWithoutServer() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try Stage(database: TestDatabase(on: server))
    var settings = stage.settings
    settings.shutdownDeadlineSeconds = 2
    var random = SeededGenerator(seed: 5)
    var truth = Truth()
    let worker = RunningIngest(settings)
    try await eventually("the worker is ready") { worker.health.isReady }
    try server.stop(.immediate)
    try stage.produce(100, &random, &truth)
    try await eventually("the failure is felt") { worker.databaseErrors(.retry) > 0 }
    try await worker.stop()
    try server.start()
    #expect(try stage.isDrained(0))
    try await stage.whileConsuming { _ in try await stage.drained(100) }
    #expect(try truth.differences(in: stage.database) == [])
  }
}
