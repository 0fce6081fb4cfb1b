import Postgres
import Store
import Synchronization
import TestSupport
import Testing

@Suite("Folding")
struct FoldTests {
  @Test("comes to the same, batch by batch or all at once")
  func manyOrOne() throws {
    let (often, once) = (try SummaryStage(), try SummaryStage())
    let events = often.events(1_200, seed: 11)
    for start in stride(from: 0, to: events.count, by: 60) {
      try often.store.write(Array(events[start..<start + 60]))
      _ = try often.summaries().fold()
    }
    try once.store.write(events)
    let folded = try once.summaries().fold()
    #expect(folded.batches == 1)
    #expect(folded.events == 1_200)
    try often.refresh()
    try once.refresh()
    try often.expectTruth()
    try once.expectTruth()
  }

  @Test("counts no delta twice and leaves none, with writers and others folding meanwhile")
  func concurrent() async throws {
    let stage = try SummaryStage()
    let database = stage.database
    let shared = Shared()
    let events = stage.events(2_000, seed: 12)
    let writers = (0..<2).map { number in
      Background {
        defer { shared.writing.subtract(1, ordering: .relaxed) }
        let store = try EventStore(database, partition: Int32(number + 1))
        for start in stride(from: number * 1_000, to: (number + 1) * 1_000, by: 50) {
          try store.write(Array(events[start..<start + 50]))
        }
      }
    }
    let folders = (0..<3).map { _ in
      Background {
        let summaries = Summaries(connection: try database.connect(), schema: database.schema)
        var folded: Int64 = 0
        while shared.writing.load(ordering: .relaxed) > 0 { folded += try summaries.fold().events }
        return folded
      }
    }
    for writer in writers { try await writer.value }
    var folded: Int64 = 0
    for folder in folders { folded += try await folder.value }
    folded += try stage.summaries().fold().events
    #expect(folded == 2_000)
    #expect(try stage.database.number("SELECT folded_events FROM @.chat_telemetry_fold_state") == 2_000)
    try stage.refresh()
    try stage.expectTruth()
  }

  private final class Shared: Sendable {
    /// How many writers are still at it.
    let writing = Atomic<Int>(2)
  }

  @Test("that is killed in its middle loses nothing")
  func killed() async throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(300, seed: 13))
    try stage.refresh()
    try stage.store.write(stage.events(300, seed: 14))
    let before = try stage.summaries().state()

    // Somebody holds a row that the fold changes, so that it waits in its middle.
    let holder = try stage.database.connect()
    try holder.execute(
      stage.database.sql("BEGIN; SELECT FROM @.chat_telemetry_totals FOR UPDATE"), operation: "hold rows")
    let folder = try stage.database.connect()
    let pid = folder.backendPID
    let folding = fold(on: folder, stage)
    try await stage.database.untilBlocked(pid)
    try stage.database.terminate(pid)
    await #expect(throws: PostgresError.self) { try await folding.value }
    try holder.execute("ROLLBACK", operation: "let go")

    let after = try stage.summaries().state()
    #expect(after.pendingEvents == 300)
    #expect(after.pendingDeltaRows == before.pendingDeltaRows)
    try stage.refresh()
    try stage.expectTruth()
  }

  /// Folds on a thread of its own, however long it has to wait; returns the events.
  private func fold(on connection: Connection, _ stage: SummaryStage) -> Background<Int64> {
    nonisolated(unsafe) let connection = connection
    let sql = stage.database.sql("SELECT folded_events FROM @.chat_telemetry_fold()")
    return Background { try connection.execute(sql, operation: "fold").rows[0].int(0) }
  }

  @Test("that waited for another sees what was committed meanwhile")
  func waiting() async throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(100, seed: 15))
    let first = try stage.database.connect()
    try first.execute(
      stage.database.sql("BEGIN; SELECT @.chat_telemetry_fold()"), operation: "fold and wait")
    let second = try stage.database.connect()
    let pid = second.backendPID
    let folding = fold(on: second, stage)
    try await stage.database.untilBlocked(pid)
    try stage.store.write(stage.events(50, seed: 16))
    try first.execute("COMMIT", operation: "commit")
    #expect(try await folding.value == 50)
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("leaves the sketches of days beside their rows until they are settled, once")
  func settling() throws {
    let stage = try SummaryStage()
    for seed in 21...24 as ClosedRange<UInt64> {
      try stage.store.write(stage.events(200, seed: seed))
      try stage.refresh()
      if seed.isMultiple(of: 2) {
        try stage.summaries().settleDaySketches()
        #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_day_sketch_deltas") == 0)
      } else {
        #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_day_sketch_deltas") > 0)
      }
      try stage.expectTruth()
    }
  }

  @Test("settles a row that very many small batches have added to")
  func settlingMany() throws {
    let stage = try SummaryStage()
    try stage.store.write((0..<1_500).map { stage.bare("one.example", "m", durationMs: $0 % 700 * 20) })
    try stage.store.write(stage.events(200, seed: 25))
    try stage.refresh()
    // As if each event had come in a batch of its own.
    try stage.database.rows(
      """
      WITH whole AS (DELETE FROM @.chat_telemetry_day_sketch_deltas RETURNING *)
      INSERT INTO @.chat_telemetry_day_sketch_deltas (day, domain, model, bins, bin_counts)
      SELECT day, domain, model, ARRAY[u.bin], ARRAY[1]
      FROM whole, unnest(bins, bin_counts) AS u (bin, n), generate_series(1, u.n)
      """)
    try stage.summaries().settleDaySketches()
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_day_sketch_deltas") == 0)
    try stage.expectTruth()
  }

  @Test("keeps rows short to which it appends again and again")
  func compaction() throws {
    let stage = try SummaryStage()
    for _ in 0..<5 {
      try stage.store.write(
        (0..<300).map { stage.bare("one.example", "m", agoMs: Int64($0) * 12_000, durationMs: $0 * $0 * 50) })
      _ = try stage.summaries().fold()
      try stage.summaries().settleDaySketches()
    }
    try stage.refresh()
    try stage.expectTruth()
    #expect(
      try stage.database.rows(
        """
        WITH minute AS (
          SELECT date_trunc('minute', now(), 'UTC') - make_interval(mins => g) AS since FROM generate_series(0, 70) AS g
        )
        SELECT since FROM minute
        LEFT JOIN LATERAL (SELECT requests FROM @.chat_telemetry_since('domain', since)) AS found ON true
        WHERE coalesce(requests, 0) <> (SELECT count(*) FROM @.truth WHERE created_at >= since)
        """) == [])
    #expect(
      try stage.database.number(
        "SELECT max(cardinality(minutes)) FROM @.chat_telemetry_window_hours WHERE kind = 'domain'") <= 120)
    #expect(
      try stage.database.number(
        "SELECT max(cardinality(duration_bins)) FROM @.chat_telemetry_model_rollups WHERE granularity = 'day'"
      )
        <= 800)
    #expect(
      try stage.database.number("SELECT max(cardinality(recent_bins)) FROM @.chat_telemetry_sketches") <= 200)
  }

  @Test("counts events of a month that was closed, whose rows have indexes on measures")
  func closedMonths() throws {
    let stage = try SummaryStage()
    let measureIndexes = """
      SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('@')
        AND relname ~ '_day_[0-9]{4}_[0-9]{2}_(cost|performance)$'
      """
    try stage.store.write(stage.events(300, seed: 41))
    _ = try stage.summaries().fold()
    try stage.database.rows("SELECT @.chat_telemetry_close_months(now() - interval '2 days')")
    #expect(try stage.database.number(measureIndexes) == 0)
    for _ in 0..<2 {
      try stage.database.rows("SELECT @.chat_telemetry_close_months(now() + interval '40 days')")
      #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_model_rollups_day_open") == 0)
      #expect(try stage.database.number(measureIndexes) == 2)
    }
    try stage.store.write(stage.events(300, seed: 42))
    try stage.refresh()
    try stage.expectTruth()
    try stage.summaries().settleDaySketches()
    try stage.expectTruth()
  }

  @Test("a failure leaves no transaction open on its connection")
  func failure() throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(20, seed: 17))
    try stage.database.execute(Self.failOnTotals)
    let summaries = try stage.summaries()
    #expect(throws: PostgresError.self) { try summaries.fold() }
    try stage.database.execute("DROP TRIGGER refuse ON @.chat_telemetry_totals")
    #expect(try summaries.fold().events == 20)
  }

  /// Makes every fold fail.
  static let failOnTotals = """
    CREATE FUNCTION @.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more totals'; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON @.chat_telemetry_totals FOR EACH ROW EXECUTE FUNCTION @.refuse()
    """
}
