import Foundation
import Postgres
import Store
import TestSupport
import Testing

@Suite("Days of the raw table")
struct DayTests {
  private let stage: Stage
  private static let dayMs: Int64 = 86_400_000

  init() throws { stage = try Stage() }

  private var ensure: String { stage.database.sql("SELECT @.chat_telemetry_ensure_days") }

  /// Events of the day so many days before the present one.
  private func events(_ count: Int, daysAgo: Int64, seed: UInt64) -> [TestEvent] {
    var events = stage.events(count, seed: seed)
    for place in events.indices {
      events[place].createdAtMs =
        (Stage.nowMs / Self.dayMs - daysAgo) * Self.dayMs + events[place].createdAtMs % Self.dayMs
    }
    return events
  }

  private func drop(_ day: String, marked: Bool) throws {
    let leaf = "@.chat_telemetry_\(day.replacing("-", with: "_"))"
    try stage.database.rows(
      """
      BEGIN;
      \(marked ? "UPDATE @.chat_telemetry_days SET dropped_at = now() WHERE day = '\(day)';" : "")
      ALTER TABLE @.chat_telemetry DETACH PARTITION \(leaf); DROP TABLE \(leaf); COMMIT
      """)
  }

  @Test("A partition that is missing behind the worker's back is an error, not a dead letter")
  func missingPartition() throws {
    let old = events(150, daysAgo: 1, seed: 1)
    let writer = try stage.writer()
    try writer.commit([old[0]])
    try drop("2026-03-14", marked: false)
    let error = try #require(throws: PostgresError.self) { try writer.commit(Array(old[1...])) }
    #expect(error.sqlState == .checkViolation)
    #expect(error.constraint == nil)
    #expect(try stage.deadLetters() == [])
    #expect(try stage.nextOffset == 1)
    // Once the day is made again, the same worker goes on.
    try stage.database.rows("DELETE FROM @.chat_telemetry_days WHERE day = '2026-03-14'")
    #expect(try writer.commit(Array(old[1...])).stored == [149])
    #expect(try stage.nextOffset == 150)
  }

  @Test("A batch without its records' bytes writes nothing where a day was dropped, and asks for them")
  func droppedDayNeedsRecords() throws {
    let writer = try stage.writer()
    try stage.database.rows("\(ensure)('{2026-03-13}')")
    try drop("2026-03-13", marked: true)
    let values = (events(5, daysAgo: 2, seed: 4) + stage.events(5, seed: 5, spanMs: 3_600_000)).map(\.json)
    guard case .recordsNeeded = try writer.write([writer.delivery(values)], keepsSources: false) else {
      Issue.record("the batch was not asked for with its records")
      return
    }
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 0)
    #expect(try writer.commit(values).lateDeadLetters.count == 5)
  }

  @Test(
    "Events of a dropped day are dead letters; the first 1,000 keep their payload; the others are counted")
  func droppedDay() throws {
    let writer = try stage.writer()
    let old = events(1_300, daysAgo: 2, seed: 2)
    let new = stage.events(10, seed: 3, spanMs: 3_600_000)
    try stage.database.rows("\(ensure)('{2026-03-13}')")
    try drop("2026-03-13", marked: true)
    for range in [0..<600, 600..<1_200, 1_200..<1_300] {
      let summary = try writer.commit(Array(old[range]) + (range.lowerBound == 0 ? new : []))
      #expect(summary.stored == [range.lowerBound == 0 ? 10 : 0])
      #expect(summary.lateDeadLetters.count == range.count)
    }
    #expect(
      try stage.deadLetters("DISTINCT ON (topic, partition, record_offset) reason, event_day::text")
        .allSatisfy {
          $0 == ["before_retention", "2026-03-13"]
        })
    #expect(
      try stage.database.rows(
        """
        SELECT count(*), count(payload), count(*) FILTER (WHERE payload IS NULL AND record_offset < 1010),
          bool_and(octet_length(coalesce(payload, '')) IN (0, payload_bytes)), min(payload_bytes) > 100
        FROM @.chat_telemetry_dead_letters
        """) == [["1300", "1000", "0", "t", "t"]])
    #expect(
      try stage.database.rows("SELECT day, late_events FROM @.chat_telemetry_days WHERE late_events > 0")
        == [["2026-03-13", "1300"]])
    #expect(try stage.truth(new).differences(in: stage.database) == [])
  }

  @Test(
    "Two workers that bring events of the same dropped days, in different orders, keep 1,000 payloads of each"
  )
  func droppedDaysAtOnce() async throws {
    let days = ["2026-03-12", "2026-03-13"]
    try stage.database.rows("\(ensure)('{\(days.joined(separator: ","))}')")
    for day in days { try drop(day, marked: true) }
    let running = (0..<2).map { number in
      Background { () throws -> Void in
        let writer = try stage.writer(partitions: [Int32(number)])
        for round in 0..<6 {
          let seed = UInt64(10 + round * 4 + number * 2)
          var old = events(150, daysAgo: 2, seed: seed) + events(150, daysAgo: 3, seed: seed + 1)
          if number == 1 { old.reverse() }
          try writer.commit(old, partition: Int32(number))
        }
      }
    }
    for each in running { try await each.value }
    #expect(
      try stage.database.rows(
        """
        SELECT event_day, count(*), count(payload) FROM @.chat_telemetry_dead_letters GROUP BY 1 ORDER BY 1
        """) == days.map { [$0, "1800", "1000"] })
    #expect(
      try stage.database.rows("SELECT late_events FROM @.chat_telemetry_days WHERE late_events > 0")
        == [["1800"], ["1800"]])
  }

  @Test("A dropped day is not made again")
  func staysDropped() throws {
    try stage.database.rows("\(ensure)('{2026-03-13}')")
    try drop("2026-03-13", marked: true)
    try stage.database.rows("\(ensure)('{2026-03-13,2026-03-14}')")
    #expect(try stage.database.rows("SELECT to_regclass('@.chat_telemetry_2026_03_13')") == [[nil]])
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_2026_03_14") == 0)
  }

  @Test("Replicas that make overlapping days at once never deadlock, and each day is made once")
  func concurrently() async throws {
    let makers = (0..<6).map { number in
      Background { [stage, ensure] in
        let connection = try stage.database.connect()
        for round in 0..<8 {
          let first = (number * 5 + round * 7) % 30
          try connection.execute(
            """
            \(ensure)(array_agg(day::date ORDER BY random()))
            FROM generate_series(date '2026-01-01' + \(first), date '2026-01-05' + \(first), '1 day') AS s (day)
            """, operation: "make days")
        }
      }
    }
    for maker in makers { try await maker.value }
    let firsts = (0..<6).flatMap { number in (0..<8).map { round in (number * 5 + round * 7) % 30 } }
    let days = Set(firsts.flatMap { Array($0..<$0 + 5) }).count
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_days") == days)
    #expect(
      try stage.database.number(
        "SELECT count(*) FROM pg_inherits WHERE inhparent = '@.chat_telemetry'::regclass")
        == days)
  }

  @Test(
    "Making a day waits for no transaction that has read or written the table and sits there",
    arguments: [
      "SELECT count(*) FROM @.chat_telemetry", "LOCK TABLE @.chat_telemetry IN ROW EXCLUSIVE MODE",
      "DELETE FROM @.chat_telemetry",
    ])
  func waitsForNobody(holding: String) throws {
    try stage.writer().commit(stage.events(20, seed: 4))
    let holder = try stage.database.connect()
    try holder.execute("BEGIN; \(stage.database.sql(holding))", operation: "hold")
    let maker = try stage.database.connect()
    try maker.execute(
      "SET lock_timeout = '1ms'; \(ensure)('{2026-02-01,2026-02-02}')", operation: "make days")
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_2026_02_02") == 0)
    #expect(holder.isInTransaction)
  }

  @Test(
    "Days begin and end in UTC, whatever the session's time zone and date style",
    arguments: ["America/St_Johns", "Pacific/Kiritimati"])
  func inUTC(zone: String) throws {
    let connection = try stage.database.connect()
    try connection.execute("SET timezone = '\(zone)'; SET datestyle = 'SQL, DMY'", operation: "set a zone")
    try connection.execute("\(ensure)('{03/04/2026}')", operation: "make a day")
    #expect(
      try stage.database.rows(
        """
        SET timezone = 'UTC';
        SELECT pg_get_expr(relpartbound, oid) FROM pg_class
        WHERE oid = to_regclass('@.chat_telemetry_2026_04_03')
        """) == [["FOR VALUES FROM ('2026-04-03 00:00:00+00') TO ('2026-04-04 00:00:00+00')"]])
  }
}
