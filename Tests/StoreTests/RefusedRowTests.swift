import Foundation
import Postgres
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite("Rows that the server refuses for their data")
struct RefusedRowTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  /// A number that JSON allows and jsonb cannot hold.
  private static let tooLarge = #""logs":[1e200000]"#

  @Test(
    "Each becomes a dead letter with its bytes, wherever it stands, and all others are stored",
    arguments: [[0], [999], [0, 999], [500], [499, 500, 501], [0, 1, 2, 333, 700, 701, 998, 999]])
  func becomeDeadLetters(places: [Int]) throws {
    let events = stage.events(1_000, seed: 1)
    let values = events.enumerated().map { place, event in
      places.contains(place) ? event.json(with: Self.tooLarge) : event.json
    }
    let summary = try stage.writer().commit(values)
    let good = events.enumerated().filter { !places.contains($0.offset) }.map(\.element)
    #expect(summary.stored == [good.count])
    #expect(summary.duplicates == [0])
    #expect(Set(summary.lateDeadLetters.map(\.offset)) == Set(places.map { Int64($0) }))
    #expect(summary.eventTimes == good.map { $0.createdAtMs * 1_000 }.sorted())
    #expect(try stage.truth(good).differences(in: stage.database) == [])
    #expect(try DeltaTruth(good).differences(in: stage.database) == [])
    #expect(
      try stage.deadLetters("record_offset, reason, convert_from(payload, 'UTF8'), left(detail, 14)")
        == places.map { ["\($0)", "rejected_by_database", values[$0], "SQLSTATE 22003"] })
    #expect(try stage.nextOffset == 1_000)
  }

  @Test(
    "A batch without its records' bytes writes nothing where a row becomes a dead letter, and asks for them")
  func recordsNeeded() throws {
    let events = stage.events(3_000, seed: 3)
    let values = events.enumerated().map { place, event in
      place == 2_500 ? event.json(with: Self.tooLarge) : event.json
    }
    let writer = try stage.writer()
    let delivery = writer.delivery(values)
    guard case .recordsNeeded = try writer.write([delivery], keepsSources: false) else {
      Issue.record("the batch was not asked for with its records")
      return
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 0)
    #expect(try stage.nextOffset == 0)
    // The same store goes on with the same records.
    guard case .committed(let summary) = try writer.write([delivery]) else {
      Issue.record("the batch was not committed")
      return
    }
    #expect(summary.stored == [2_999])
    #expect(
      try stage.deadLetters("record_offset, convert_from(payload, 'UTF8')") == [["2500", values[2_500]]])
    let good = events.enumerated().filter { $0.offset != 2_500 }.map(\.element)
    #expect(try stage.truth(good).differences(in: stage.database) == [])
  }

  @Test("A batch without its records' bytes and with nothing to refuse is stored as any other")
  func withoutRecords() throws {
    let events = stage.events(3_000, seed: 4)
    let writer = try stage.writer()
    try writer.commit(Array(events[..<100]))
    let outcome = try writer.write([writer.delivery(events.map(\.json))], keepsSources: false)
    guard case .committed(let summary) = outcome else {
      Issue.record("the batch was not committed")
      return
    }
    #expect(summary.stored == [2_900])
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
  }

  @Test("Rows against a constraint, rows that cannot be read and repeats may be in one batch")
  func mixed() throws {
    let events = stage.events(1_200, seed: 2)
    try stage.writer().commit(Array(events[600..<700]))
    try stage.database.rows(
      """
      ALTER TABLE @.chat_telemetry ADD CONSTRAINT no_errors CHECK (error <> 'forbidden')
      """)
    var values = events.map(\.json)
    for place in [0, 599, 650, 1_199] { values[place] = events[place].json(with: #""error":"forbidden""#) }
    for place in [300, 601, 900] { values[place] = events[place].json(with: Self.tooLarge) }
    let writer = try stage.writer()
    let summary = try writer.commit(values)
    // 601 and 650 are repeats as well: which of the two shows first depends on the server.
    let dead = Set(summary.lateDeadLetters.map { Int($0.offset) - 100 })
    #expect(dead.subtracting([601, 650]) == [0, 300, 599, 900, 1_199])
    #expect(summary.stored == [1_200 - 100 - 5])
    #expect(summary.stored[0] + summary.duplicates[0] + dead.count == 1_200)
    let good = events.enumerated().filter { ![0, 300, 599, 900, 1_199].contains($0.offset) }.map(\.element)
    #expect(try stage.truth(good).differences(in: stage.database) == [])
    #expect(try DeltaTruth(good).differences(in: stage.database) == [])
  }

  @Test("A null that the table does not allow is the row's fault, too")
  func notNull() throws {
    try stage.database.rows("ALTER TABLE @.chat_telemetry ALTER COLUMN domain SET NOT NULL")
    var events = stage.events(50, seed: 3)
    for place in events.indices { events[place].domain = place % 10 == 0 ? nil : "d" }
    let summary = try stage.writer().commit(events)
    #expect(summary.stored == [45])
    #expect(
      try stage.deadLetters("reason, left(detail, 14)")
        == [[String?]](repeating: ["rejected_by_database", "SQLSTATE 23502"], count: 5))
  }

  @Test("Repeats of refused rows are refused again and counted once")
  func refusedAgain() throws {
    let values = stage.events(20, seed: 4).map { $0.json(with: Self.tooLarge) }
    let writer = try stage.writer()
    #expect(try writer.commit(values).stored == [0])
    #expect(try writer.commit(values).lateDeadLetters.count == 20)
    #expect(try stage.storedCount == 0)
    #expect(try stage.deadLetters().count == 40)
  }

  @Test(
    "If over half of a batch are refused alike, the table is wrong: it says so, and writes nothing",
    arguments: [(100, 51), (1_000, 501), (1_000, 1_000), (5_000, 4_000)])
  func schemaRefuses(rows: Int, bad: Int) throws {
    try stage.database.rows(
      "ALTER TABLE @.chat_telemetry ADD CONSTRAINT wrong CHECK (iterations < 1000)")
    var events = stage.events(rows, seed: 5)
    var random = SeededGenerator(seed: 6)
    for place in events.indices.shuffled(using: &random).prefix(bad) { events[place].iterations = 1_000 }
    let before = try stage.measures()
    let writer = try stage.writer()
    let error = try #require(throws: SchemaRefusesRows.self) { try writer.commit(events) }
    #expect(error.error.constraint == "wrong")
    #expect(error.refused * 2 > error.tried)
    #expect("\(error)".contains("wrong"))
    #expect(try stage.measures() == before)
    #expect(try stage.deadLetters() == [])
    #expect(try stage.nextOffset == 0)
    #expect(!writer.store.connection.isInTransaction)
    // Once somebody has mended the table, the same worker stores the same batch.
    try stage.database.rows("ALTER TABLE @.chat_telemetry DROP CONSTRAINT wrong")
    #expect(try writer.commit(events).stored == [rows])
  }

  @Test(
    "Up to half of a batch, or all of a small one, are the data's fault", arguments: [(100, 50), (99, 99)])
  func dataIsWrong(rows: Int, bad: Int) throws {
    try stage.database.rows(
      "ALTER TABLE @.chat_telemetry ADD CONSTRAINT wrong CHECK (iterations < 1000)")
    var events = stage.events(rows, seed: 7)
    for place in events.indices.prefix(bad) { events[place].iterations = 1_000 }
    let summary = try stage.writer().commit(events)
    #expect(summary.stored == [rows - bad])
    #expect(try stage.deadLetters().count == bad)
  }

  @Test(
    "A failure that is not the row's is an error: no dead letter, nothing written, nothing lost",
    arguments: [
      (
        "ALTER TABLE @.chat_telemetry RENAME COLUMN error TO err",
        "ALTER TABLE @.chat_telemetry RENAME COLUMN err TO error"
      ),
      (
        "ALTER TABLE @.chat_telemetry_offsets ADD CONSTRAINT stuck CHECK (next_offset < 100)",
        "ALTER TABLE @.chat_telemetry_offsets DROP CONSTRAINT stuck"
      ),
      (
        "ALTER TABLE @.chat_telemetry_rollups ADD CONSTRAINT small CHECK (total_requests < 2)",
        "ALTER TABLE @.chat_telemetry_rollups DROP CONSTRAINT small"
      ),
      (
        "ALTER TABLE @.chat_telemetry_summary_deltas ADD CONSTRAINT small CHECK (model = 'none')",
        "ALTER TABLE @.chat_telemetry_summary_deltas DROP CONSTRAINT small"
      ),
    ])
  func environment(breaking: String, mending: String) throws {
    let events = stage.events(200, seed: 8, spanMs: 3_600_000)
    let writer = try stage.writer()
    try stage.database.rows(breaking)
    #expect(throws: PostgresError.self) { try writer.commit(events) }
    #expect(try stage.deadLetters() == [])
    #expect(try stage.storedCount == 0)
    #expect(try stage.nextOffset == 0)
    try stage.database.rows(mending)
    #expect(try writer.commit(events).stored == [200])
    #expect(try stage.truth(events).differences(in: stage.database) == [])
  }

  @Test("What is narrowed down is every row of the run, once, and ever smaller", arguments: [1, 2, 3, 4, 40])
  func split(count: Int) {
    let run = Array(1_000..<1_000 + count)[...]
    for line in [nil, 0, -1, count + 1] + (1...count).map({ Optional($0) }) where count > 1 {
      let parts = RawRowWriter.split(run, around: line)
      #expect(parts.flatMap { Array($0) } == Array(run))
      #expect(parts.allSatisfy { !$0.isEmpty && $0.count < count })
      if let line, (1...count).contains(line) {
        #expect(parts.contains { Array($0) == [run[line - 1]] })
        // What follows is cut as well: where many rows are bad, sending all the rest each time would never end.
        let behind = parts.drop { $0[$0.startIndex] <= run[line - 1] }
        #expect(behind.allSatisfy { $0.count <= (count - line + 1) / 2 })
      }
    }
  }
}
