import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("Repeats are told from new events")
struct DuplicateTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  @Test("Repeats within a batch, of lately committed keys and of the table add nothing and are counted apart")
  func kinds() throws {
    let events = stage.events(300, seed: 1)
    let writer = try stage.writer()
    try writer.commit(Array(events[0..<100]))
    // A second worker remembers nothing of the first one's keys.
    let second = try stage.writer()
    try second.commit(Array(events[100..<200]))

    let batch = EventBatch()
    var decoder = EventDecoder(rules: DecodingRules(maxAgeDays: 10_000))
    let mixed = events[50..<150] + events[200..<300] + events[200..<220]
    let delivery = second.delivery(mixed.map(\.json))
    #expect(delivery.decode(into: batch, &decoder) == 20)
    let outcome = try second.store.write(
      batch, advances: [delivery.advance], nowMicros: Stage.nowMs * 1_000)
    guard case .committed(let summary) = outcome else {
      Issue.record("not committed: \(outcome)")
      return
    }
    #expect(summary.stored == [100])
    #expect(summary.duplicates == [100])
    #expect(summary.eventTimes == events[200..<300].map { $0.createdAtMs * 1_000 }.sorted())
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
  }

  @Test("Repeats are counted for the partition that brought them")
  func byPartition() throws {
    let events = stage.events(30, seed: 2).map(\.json)
    try stage.writer(partitions: [0, 7]).commit(Array(events[0..<10]))
    let writer = try stage.writer(partitions: [0, 7])
    let outcome = try writer.write([
      writer.delivery(Array(events[0..<4] + events[10..<20])),
      writer.delivery(Array(events[4..<10] + events[20..<30]), partition: 7),
    ])
    guard case .committed(let summary) = outcome else {
      Issue.record("not committed: \(outcome)")
      return
    }
    #expect(summary.stored == [10, 10])
    #expect(summary.duplicates == [4, 6])
  }

  @Test(
    "One repeat at any place of a large batch is found, and the others are stored",
    arguments: [0, 1, 1_499, 2_999])
  func onePlace(place: Int) throws {
    let events = stage.events(3_000, seed: 3).sorted { $0.createdAtMs < $1.createdAtMs }
    try stage.writer().commit([events[place]])
    let summary = try stage.writer().commit(events)
    #expect(summary.stored == [2_999])
    #expect(summary.duplicates == [1])
    #expect(try stage.truth(events).differences(in: stage.database) == [])
  }

  @Test("A replay of everything changes not one value, whether the worker asks first or copies first")
  func replay() throws {
    let events = stage.events(1_000, seed: 4)
    let original = try stage.writer()
    for start in [0, 500] { try original.commit(Array(events[start..<start + 500])) }
    let before = try stage.measures()
    let replaying = try stage.writer()
    // The first batch is copied first; so many repeats make the second one ask first.
    for start in [0, 500] {
      let summary = try replaying.commit(Array(events[start..<start + 500]))
      #expect(summary.stored == [0])
      #expect(summary.duplicates == [500])
      #expect(summary.eventTimes == [])
    }
    #expect(try stage.measures() == before)
    #expect(try stage.nextOffset == 2_000)
    // And where the worker asks first, what is new is stored nevertheless.
    let more = stage.events(10, seed: 5)
    #expect(try replaying.commit(more).stored == [10])
    #expect(try stage.truth(events + more).differences(in: stage.database) == [])
  }

  @Test(
    "A key that another transaction holds uncommitted is a repeat if that commits, and new if it does not",
    arguments: ["COMMIT", "ROLLBACK"], [1, 3])
  func heldUncommitted(ending: String, keys: Int) async throws {
    let events = stage.events(500, seed: 6).sorted { $0.createdAtMs < $1.createdAtMs }
    let held = (0..<keys).map { events[100 + 100 * $0] }
    let holder = try stage.database.connect()
    // The days must be there before the keys.
    try stage.database.rows(
      "SELECT @.chat_telemetry_ensure_days(array_agg(day::date)) FROM generate_series(timestamp '2026-03-12', '2026-03-16', '1 day') AS s (day)"
    )
    func hold(_ event: TestEvent) throws {
      try holder.execute(
        stage.database.sql(
          """
          INSERT INTO @.chat_telemetry (created_at, id, session_id, model, start_time, iterations, search_count,
            total_results, success)
          VALUES (to_timestamp(\(event.createdAtMs) / 1000.0), '\(event.id)', 's', 'm', now(), 0, 0, 0, true)
          """), operation: "hold a key")
    }
    // The first key is committed, so that the worker finds one repeat before it meets those that are held.
    if keys > 1 { try hold(held[0]) }
    try holder.execute("BEGIN", operation: "begin")
    for event in keys > 1 ? held.dropFirst() : held[...] { try hold(event) }

    // Not to be taken for a frozen worker, however slow the machine.
    nonisolated(unsafe) let writer = try stage.writer(holderAgeSeconds: 3_600)
    let pid = writer.store.connection.backendPID
    let writing = Background { [events] in try writer.commit(events) }
    try await stage.database.untilBlocked(pid)
    try holder.execute(ending, operation: "end the holder")
    let summary = try await writing.value

    let kept = ending == "COMMIT" ? held[...] : keys > 1 ? held.prefix(1) : []
    let repeats = kept.count
    #expect(summary.duplicates == [repeats])
    #expect(summary.stored == [500 - repeats])
    #expect(try stage.storedCount == 500)
    #expect(
      try stage.database.number("SELECT sum(total_requests) FROM @.chat_telemetry_rollups") == 500 - repeats)
    let keptIDs = Set(kept.map(\.id))
    #expect(try DeltaTruth(events.filter { !keptIDs.contains($0.id) }).differences(in: stage.database) == [])
  }

  @Test(
    "Three workers that deliver the same events in different orders at once store each once, without a deadlock"
  )
  func interleaved() async throws {
    let events = stage.events(3_000, seed: 7)
    let writers = (0..<3).map { number in
      Background { [stage, events] in
        var random = SeededGenerator(seed: UInt64(number))
        let mine = events.shuffled(using: &random)
        let writer = try stage.writer(partitions: [Int32(number)], recentKeys: 2)
        var counts = (stored: 0, duplicates: 0)
        for start in stride(from: 0, to: mine.count, by: 250) {
          let summary = try writer.commit(Array(mine[start..<start + 250]), partition: Int32(number))
          counts.stored += summary.stored[0]
          counts.duplicates += summary.duplicates[0]
        }
        return [counts.stored, counts.duplicates]
      }
    }
    var total = [0, 0]
    for writer in writers { total = zip(total, try await writer.value).map(+) }
    #expect(total == [3_000, 6_000])
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
  }
}
