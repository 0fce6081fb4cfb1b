import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("A batch that is written in parts is one transaction")
struct BatchPartTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  private func expectStored(_ events: [TestEvent], _ location: SourceLocation = #_sourceLocation) throws {
    #expect(try stage.truth(events).differences(in: stage.database) == [], sourceLocation: location)
    #expect(try DeltaTruth(events).differences(in: stage.database) == [], sourceLocation: location)
  }

  @Test("Nobody sees a part before the last one is committed, and then all of it is there, summed up once")
  func together() throws {
    let events = stage.events(900, seed: 1)
    let writer = try stage.writer(partitions: [0, 1, 2])
    let empty = try stage.measures()
    try writer.append(Array(events[0..<300]), partition: 1)
    try writer.append(Array(events[300..<600]), partition: 0)
    #expect(try stage.measures() == empty)
    #expect(try stage.nextOffset == 0)
    let last = try writer.append(Array(events[600..<900]), partition: 1, isLast: true)
    #expect(last.stored.reduce(0, +) == 300)
    try expectStored(events)
    #expect(
      try stage.database.rows("SELECT next_offset FROM @.chat_telemetry_offsets ORDER BY partition")
        == [["300"], ["600"], ["0"]])
    // One batch for the fold, however many parts it had.
    #expect(try stage.database.rows("SELECT events FROM @.chat_telemetry_pending_batches") == [["900"]])
    #expect(
      try stage.database.number(
        "SELECT count(*) - count(DISTINCT (day, domain, model)) FROM @.chat_telemetry_summary_deltas") == 0)
  }

  @Test("A last part may be empty: what came before it is committed")
  func emptyEnd() throws {
    let events = stage.events(200, seed: 2)
    let writer = try stage.writer()
    try writer.append(events)
    guard case .committed = try writer.write([], isLast: true) else {
      Issue.record("not committed")
      return
    }
    try expectStored(events)
    #expect(try stage.nextOffset == 200)
  }

  @Test("Repeats of an earlier part are found, remembered or not", arguments: [1, 100_000])
  func repeats(recentKeys: Int) throws {
    let events = stage.events(300, seed: 3)
    let writer = try stage.writer(recentKeys: recentKeys)
    try writer.append(Array(events[0..<200]))
    let summary = try writer.append(Array(events[100..<300]), isLast: true)
    #expect(summary.stored == [100])
    #expect(summary.duplicates == [100])
    try expectStored(events)
  }

  @Test("Given up, nothing of it is left, and its events are new when they come again")
  func givenUp() throws {
    let events = stage.events(300, seed: 4)
    let writer = try stage.writer()
    try writer.append(Array(events[0..<200]))
    try writer.store.giveUp()
    #expect(!writer.store.connection.isInTransaction)
    #expect(try stage.storedCount == 0)
    // The store's memory of keys must not take them for stored.
    let again = Writer(
      store: writer.store, positions: try writer.store.positions.load(topics: [Stage.topic]))
    let summary = try again.append(events, isLast: true)
    #expect(summary.stored == [300])
    try expectStored(events)
  }

  @Test("The first part of another batch gives the open one up")
  func begunAnew() throws {
    let events = stage.events(300, seed: 5)
    let writer = try stage.writer()
    try writer.append(Array(events[0..<200]))
    let again = Writer(
      store: writer.store, positions: try writer.store.positions.load(topics: [Stage.topic]))
    try again.append(Array(events[100..<300]), isLast: true)
    try expectStored(Array(events[100..<300]))
    #expect(try stage.nextOffset == 200)
  }

  @Test("When the transaction fails between two parts, the earlier ones are lost and said to be")
  func lost() throws {
    let events = stage.events(300, seed: 6)
    let writer = try stage.writer()
    try writer.append(Array(events[0..<200]))
    try stage.database.terminate(writer.store.connection.backendPID)
    let part = writer.delivery(events[200..<300].map(\.json))
    #expect(throws: PostgresError.self) { try writer.write([part], isLast: true) }
    // As the pipeline does: the same part once more, over a new connection.
    let second = try stage.writer()
    #expect(try outcome(of: part, from: 0, in: second) == "partsLost")
    #expect(try stage.storedCount == 0)
    #expect(!second.store.connection.isInTransaction)
    try second.append(events, isLast: true)
    try expectStored(events)
  }

  @Test(
    "When only the answer to the COMMIT was lost, the last part finds the batch committed; moved on, it is fenced"
  )
  func answerLost() throws {
    let events = stage.events(300, seed: 7)
    let writer = try stage.writer()
    try writer.append(Array(events[0..<200]))
    let part = writer.delivery(events[200..<300].map(\.json))
    _ = try writer.write([part], isLast: true)
    let second = try stage.writer()
    #expect(try outcome(of: part, from: 0, in: second) == "alreadyCommitted")
    try second.append(stage.events(10, seed: 8), isLast: true)
    #expect(try outcome(of: part, from: 0, in: try stage.writer()) == "fenced")
    try expectStored(events + stage.events(10, seed: 8))
  }

  private func outcome(of part: Delivery, from: Int64, in writer: Writer) throws -> String {
    var advance = part.advance
    advance.from = from
    let outcome = try writer.store.write(
      EventBatch(), BatchPart(advances: [advance], isFirst: false), nowMicros: Stage.nowMs * 1_000)
    return String("\(outcome)".prefix { $0 != "(" })
  }

  @Test(
    "Positions that the first part has locked cannot be moved before the COMMIT; one it has not locked fences"
  )
  func fence() throws {
    let events = stage.events(200, seed: 9)
    let writer = try stage.writer(partitions: [0, 1])
    try writer.append(Array(events[0..<100]))
    #expect(
      try stage.database.rows(
        """
        SELECT partition FROM @.chat_telemetry_offsets WHERE partition IN (0, 1)
        ORDER BY partition FOR UPDATE SKIP LOCKED
        """) == [])
    // Partition 7 is nobody's that this batch knew of.
    let strange = Delivery(partition: 7, from: 0, values: events[100..<200].map(\.json))
    guard case .fenced = try writer.write([strange], isLast: true) else {
      Issue.record("not fenced")
      return
    }
    #expect(!writer.store.connection.isInTransaction)
    #expect(try stage.storedCount == 0)
    #expect(try stage.nextOffset == 0)
  }

  @Test("Days that only a later part touches are made while the transaction is open")
  func laterDays() throws {
    let early = stage.events(50, seed: 10, spanMs: 3_600_000)
    let late = stage.events(200, seed: 11, spanMs: 6 * 86_400_000)
    let writer = try stage.writer()
    try writer.append(early)
    try writer.append(late, isLast: true)
    try expectStored(early + late)
  }

  @Test("Dead letters of every part are stored with the batch, and of a lost one none")
  func deadLetters() throws {
    let events = stage.events(20, seed: 12)
    let writer = try stage.writer()
    guard case .appended = try writer.write([writer.delivery(events.map(\.json) + ["bad"])], isLast: false)
    else {
      Issue.record("not appended")
      return
    }
    #expect(try stage.deadLetters().isEmpty)
    try writer.store.giveUp()
    #expect(try stage.deadLetters().isEmpty)

    let again = try stage.writer()
    _ = try again.write([again.delivery(events.map(\.json) + ["bad"])], isLast: false)
    _ = try again.write([again.delivery(["worse"])], isLast: true)
    #expect(try stage.deadLetters().map { $0[0] } == ["20", "21"])
    try expectStored(events)
  }

  @Test(
    "A row that the database refuses in a later part takes the whole batch back, to be read with its bytes")
  func refused() throws {
    try stage.database.execute("ALTER TABLE @.chat_telemetry ADD CONSTRAINT no_zz CHECK (model <> 'zz')")
    let events = stage.events(100, seed: 13)
    let writer = try stage.writer()
    try writer.append(events)
    var bad = stage.events(1, seed: 14)[0]
    bad.model = "zz"
    guard
      case .recordsNeeded = try writer.write([writer.delivery([bad.json])], keepsSources: false, isLast: true)
    else {
      Issue.record("not taken back")
      return
    }
    #expect(try stage.storedCount == 0)
    #expect(try stage.nextOffset == 0)
    let whole = try writer.write([writer.delivery(events.map(\.json) + [bad.json])])
    guard case .committed(let summary) = whole else {
      Issue.record("not committed: \(whole)")
      return
    }
    #expect(summary.stored == [100])
    #expect(try stage.deadLetters().map { $0[1] } == ["rejected_by_database"])
    try expectStored(events)
  }
}
