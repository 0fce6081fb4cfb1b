import Foundation
import Postgres
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite("What a large transaction adds to the rollups is the same, however its rows are stored")
struct RollupWriterTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  /// Events of so many hours that most of them have a row of the model rollups to themselves.
  private func scattered(_ count: Int, seed: UInt64) -> [TestEvent] {
    stage.events(count, seed: seed, spanMs: 60 * 86_400_000)
  }

  /// Others that fall into the same rows.
  private func anew(_ events: [TestEvent]) -> [TestEvent] {
    events.map { event in
      var event = event
      event.id = UUID()
      return event
    }
  }

  private func rowCount(_ events: [TestEvent]) -> Int {
    Set(
      events.map {
        "\($0.createdAtMs / 3_600_000) \($0.domain ?? "NULL") \($0.model.isEmpty ? "unknown" : $0.model)"
      }
    ).count
  }

  private func expectStored(_ events: [TestEvent], _ location: SourceLocation = #_sourceLocation) throws {
    #expect(try stage.truth(events).differences(in: stage.database) == [], sourceLocation: location)
  }

  @Test("Rows of hours that have none, rows that are new among others, and rows that are there")
  func inTurn() throws {
    let events = scattered(26_000, seed: 1)
    let writer = try stage.writer()
    // All hours are new, then most are not; at last no row is.
    let parts = [events[..<13_000], events[13_000...]].map(Array.init)
    #expect(parts.allSatisfy { rowCount($0) > RollupWriter.manyKeys })
    for part in parts { try writer.append(part, isLast: true) }
    let again = anew(parts[0])
    try writer.append(again, isLast: true)
    try expectStored(events + again)
  }

  @Test("Hours that have some rows already, too few to ask for each")
  func fewOthers() throws {
    let few = scattered(500, seed: 2)
    let many = scattered(4_000, seed: 3)
    #expect((RollupWriter.manyRows..<RollupWriter.manyKeys).contains(rowCount(many)))
    let writer = try stage.writer()
    try writer.append(few, isLast: true)
    try writer.append(many, isLast: true)
    try expectStored(few + many)
  }

  @Test("An hour that is missing in one table only is no new hour in the others")
  func oneTableOnly() throws {
    let first = scattered(3_000, seed: 4)
    let second = scattered(3_000, seed: 5)
    #expect(rowCount(second) > RollupWriter.manyRows)
    let writer = try stage.writer()
    try writer.append(first, isLast: true)
    try stage.database.rows("DELETE FROM @.chat_telemetry_rollups_hour")
    try writer.append(second, isLast: true)
    let requests = try stage.database.rows(
      """
      SELECT (SELECT sum(total_requests) FROM @.chat_telemetry_rollups_hour),
        (SELECT sum(total_requests) FROM @.chat_telemetry_domain_rollups_hour),
        (SELECT sum(total_requests) FROM @.chat_telemetry_model_rollups_hour)
      """)
    #expect(requests == [["3000", "6000", "6000"]])
  }

  @Test("Writers of the same hours at the same time")
  func together() async throws {
    let events = scattered(24_000, seed: 6)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for partition in Int32(0)..<2 {
        let own = events.enumerated().filter { $0.offset % 2 == partition }.map(\.element)
        group.addTask {
          let writer = try stage.writer(partitions: [partition])
          for start in stride(from: 0, to: own.count, by: 6_000) {
            try writer.append(Array(own[start..<start + 6_000]), partition: partition, isLast: true)
          }
        }
      }
      try await group.waitForAll()
    }
    try expectStored(events)
  }

  @Test("Sums and extremes are those of the upsert to the last digit")
  func digits() throws {
    // A domain of its own for each: the second transaction upserts what the first one copied.
    let costs = [
      0, 1, 99, 100, 9_999, 10_000, 999_999, 1_000_000, 99_990_000, 9_999_000_000, 999_999_999_999,
    ]
    var events = stage.events(3_000, seed: 7)
    for place in events.indices {
      events[place].domain = "d\(place)"
      events[place].durationMs = place % 3 == 0 ? nil : place
      events[place].costMicros = place % 5 == 0 ? nil : costs[place % costs.count]
    }
    let writer = try stage.writer()
    try writer.append(events, isLast: true)
    try expectStored(events)
    let again = anew(events)
    try writer.append(again, isLast: true)
    try expectStored(events + again)
  }
}
