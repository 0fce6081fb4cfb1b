import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("Retention of raw rows")
struct RetentionTests {
  private let scene: RetentionScene
  private var stage: Stage { scene.stage }

  init() throws { scene = try RetentionScene() }

  @Test("An old day that nobody has written for a day is dropped, the oldest first; views stay as they are")
  func dropsOldDays() throws {
    let stage = try SummaryStage()
    let scene = RetentionScene(of: stage)
    for (daysAgo, seed) in [(40, 1), (35, 2), (2, 3)] as [(Int64, UInt64)] {
      try stage.store.write(stage.events(100, daysAgo: daysAgo, seed: seed))
    }
    try stage.refresh()
    try scene.age()
    let retention = try scene.retention()
    for daysAgo in [40, 35] as [Int64] {
      let drop = try #require(try retention.dropRawDay(days: 30, lockWaitMs: 1_000))
      #expect(
        drop == DroppedPart(day: try #require(try stage.date(daysAgo: daysAgo)), rows: 100, wholeDay: 100))
      let leaf = "@.chat_telemetry_\(drop.day.replacing("-", with: "_"))"
      #expect(try stage.database.rows("SELECT to_regclass('\(leaf)')") == [[nil]])
    }
    #expect(try retention.dropRawDay(days: 30, lockWaitMs: 1_000) == nil)
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry") == 100)
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("What is not folded when its day is dropped still comes into totals and views")
  func foldsAfterwards() throws {
    let stage = try SummaryStage()
    let scene = RetentionScene(of: stage)
    try stage.store.write(stage.events(200, daysAgo: 40, seed: 4))
    try scene.age()
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000)?.rows == 200)
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("A day may go once it ended so many days ago and was not written for 24 hours; 0 keeps all")
  func droppableAt() throws {
    let writer = try stage.writer()
    try writer.commit(scene.events(20, day: 0, seed: 5) + scene.events(20, day: 1, seed: 6))
    func droppable(_ days: Int) throws -> [[String?]] {
      try scene.database.rows(
        """
        SELECT day, to_char(droppable_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), droppable_at <= now()
        FROM @.chat_telemetry_droppable_days(\(days)) WHERE day < '2025-01-01' ORDER BY 1
        """)
    }
    #expect(try droppable(30).map { $0[2] } == ["f", "f"])
    try scene.age("23 hours 59 minutes")
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000) == nil)
    // Only one of the two days is written again; what is stored already writes nothing.
    try writer.commit(scene.events(1, day: 1, seed: 7))
    try stage.writer(recentKeys: 1).commit(scene.events(20, day: 0, seed: 5))
    try scene.age("2 minutes")
    #expect(try droppable(30).map { $0[2] } == ["t", "f"])
    #expect(try droppable(0) == [])
    // Written long ago: then the day's end counts. 2024-05-10 ends on the 11th.
    try scene.age("20 years")
    #expect(
      try droppable(30) == [
        ["2024-05-10", "2024-06-10 00:00:00", "t"], ["2024-05-11", "2024-06-11 00:00:00", "t"],
      ])
    #expect(try droppable(36_500).map { $0[2] } == ["f", "f"])
  }

  @Test("While a backfill is unfinished no day goes, until it has stood still for a week")
  func unfinishedBackfill() throws {
    try stage.writer().commit(scene.events(20, day: 0, seed: 41))
    try scene.age()
    func overdue() throws -> Int64 {
      try scene.database.number(
        "SELECT count(*) FROM @.chat_telemetry_droppable_days(30) WHERE droppable_at <= now() AND day < '2025-01-01'"
      )
    }
    #expect(try overdue() == 1)
    // It stood still for longer; then for less, after its start and after a batch.
    try scene.database.rows(
      """
      INSERT INTO @.chat_telemetry_backfill_jobs (job, consumer_group, topics, from_given, to_given, started_at)
      VALUES ('history', 'history', '{t}', 'earliest', 'latest', now() - interval '169 hours')
      """)
    #expect(try overdue() == 1)
    try scene.database.rows(
      "UPDATE @.chat_telemetry_backfill_jobs SET started_at = now() - interval '167 hours'")
    #expect(try overdue() == 0)
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000) == nil)
    try scene.database.rows(
      """
      UPDATE @.chat_telemetry_backfill_jobs SET started_at = now() - interval '30 days';
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset)
      VALUES ('history', 't', 0, 5, 0)
      """)
    #expect(try overdue() == 0)
    try scene.database.rows("UPDATE @.chat_telemetry_backfill_jobs SET finished_at = now()")
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000)?.day == "2024-05-10")
  }

  @Test("A day whose partition has no row goes a day after it was made")
  func emptyDay() throws {
    try scene.database.rows("SELECT @.chat_telemetry_ensure_days('{2024-05-10}')")
    #expect(try scene.retention().dropRawDay(days: 1, lockWaitMs: 1_000) == nil)
    try scene.age()
    #expect(try scene.retention().dropRawDay(days: 1, lockWaitMs: 1_000)?.rows == 0)
    #expect(try scene.partitions() == [])
  }

  @Test(
    "Whoever reads the raw table delays a drop, and nobody else: batches are committed meanwhile",
    arguments: ["", "WHERE created_at < '2024-05-11+00'", "WHERE created_at >= '2024-05-12+00'"])
  func longReader(reads: String) async throws {
    let writer = try stage.writer()
    try writer.commit(scene.events(50, day: 0, seed: 8) + scene.events(50, day: 2, seed: 9))
    try scene.age()
    let reader = try scene.database.connect()
    try reader.execute(
      scene.database.sql("BEGIN; SELECT count(*) FROM @.chat_telemetry \(reads)"), operation: "read for long")
    try scene.expectDelay { try scene.retention().dropRawDay(days: 30, lockWaitMs: 50) }
    // Again and again, while batches come.
    let attempts = Background { [scene] in
      let retention = try scene.retention()
      for _ in 0..<10 { try scene.expectDelay { try retention.dropRawDay(days: 30, lockWaitMs: 20) } }
    }
    for seed in 10..<20 as Range<UInt64> { try writer.commit(scene.events(20, day: 2, seed: seed)) }
    try await attempts.value
    #expect(reader.isInTransaction)
    #expect(try scene.partitions() == ["2024-05-10", "2024-05-12"])
    try reader.execute("ROLLBACK", operation: "stop reading")
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000)?.day == "2024-05-10")
    #expect(try stage.storedCount == 250)
  }

  @Test("A batch under way is waited for, and a day that it wrote stays")
  func batchUnderWay() async throws {
    let writer = try stage.writer()
    try writer.commit(scene.events(50, day: 0, seed: 21))
    try scene.age()
    // The batch stands at its last lock, after its rows.
    let holder = try scene.database.connect()
    try holder.execute(
      scene.database.sql(
        "BEGIN; SELECT pg_advisory_xact_lock('@.chat_telemetry_rollups'::regclass::oid::bigint)"),
      operation: "hold the batch up")
    let batch = Background { [stage, scene] in
      let writer = try stage.writer(partitions: [1])
      return try writer.commit(scene.events(30, day: 1, seed: 22), partition: 1).stored
    }
    try await untilWaiting(1)
    try scene.expectDelay { try scene.retention().dropRawDay(days: 30, lockWaitMs: 50) }
    let drop = Background { [scene] in try scene.retention().dropRawDay(days: 30, lockWaitMs: 60_000) }
    try await untilWaiting(2)
    // As the batch would have, had it been for that day.
    try holder.execute(
      scene.database.sql(
        "UPDATE @.chat_telemetry_rollups_hour SET updated_at = now() WHERE bucket_start < '2024-05-11+00'; COMMIT"
      ),
      operation: "let go")
    #expect(try await batch.value == [30])
    #expect(try await drop.value == nil)
    #expect(try scene.partitions() == ["2024-05-10", "2024-05-11"])
  }

  /// Waits until so many backends wait for a lock.
  private func untilWaiting(_ count: Int) async throws {
    try await eventually("\(count) backends wait") {
      try scene.database.number(
        """
        SELECT count(DISTINCT w.pid) FROM pg_locks AS w JOIN pg_locks AS h ON h.pid = w.pid AND h.granted
          AND h.relation = ANY (ARRAY['@.chat_telemetry_days', '@.chat_telemetry', '@.chat_telemetry_offsets']::regclass[])
        WHERE NOT w.granted
        """) == Int64(count)
    }
  }

  @Test(
    "A batch that waits while its day is dropped makes dead letters of that day's events, and stores the others"
  )
  func batchBehindDrop() async throws {
    // With the new events' day, so that the batch has none to make and waits within its transaction.
    try stage.writer(partitions: [1]).commit(
      scene.events(40, day: 0, seed: 23) + scene.events(1, day: 3, seed: 29), partition: 1)
    try scene.age()
    let dropper = try scene.database.connect()
    try dropper.execute(
      scene.database.sql("BEGIN; SELECT * FROM @.chat_telemetry_drop_raw_day(30, 1000)"),
      operation: "drop a day")
    let old = scene.events(60, day: 0, seed: 24)
    let new = scene.events(25, day: 3, seed: 25)
    let batch = Background { [stage] in
      let summary = try stage.writer().commit(old + new)
      return (summary.stored, summary.lateDeadLetters.map(\.eventDay).count)
    }
    try await untilWaiting(1)
    try dropper.execute("COMMIT", operation: "commit the drop")
    let (stored, late) = try await batch.value
    #expect(stored == [25] && late == 60)
    #expect(try scene.late() == [["2024-05-10", "60", "60", "60"]])
    #expect(try scene.partitions() == ["2024-05-13"])
    #expect(try stage.storedCount == 26)
  }

  @Test(
    "Late events are counted once, however often they are delivered, and 1,000 payloads of a day are kept")
  func lateEvents() throws {
    try stage.writer(partitions: [1]).commit(scene.events(40, day: 0, seed: 26), partition: 1)
    try scene.age()
    #expect(try scene.retention().dropRawDay(days: 30, lockWaitMs: 1_000)?.rows == 40)
    let late = scene.events(1_300, day: 0, seed: 27)
    for _ in 0..<2 {
      try scene.database.rows("UPDATE @.chat_telemetry_offsets SET next_offset = 0 WHERE partition = 0")
      let writer = try stage.writer()
      for range in [0..<700, 700..<1_300] {
        #expect(try writer.commit(Array(late[range])).lateDeadLetters.count == range.count)
      }
      #expect(try scene.late() == [["2024-05-10", "1300", "1300", "1000"]])
    }
    // Half of this batch is known.
    try scene.database.rows("UPDATE @.chat_telemetry_offsets SET next_offset = 1200 WHERE partition = 0")
    try stage.writer().commit(Array(late[1_200...]) + scene.events(50, day: 0, seed: 28))
    #expect(try scene.late() == [["2024-05-10", "1350", "1350", "1000"]])
    #expect(try scene.partitions() == [])
  }

  @Test("Batches and drops of the same days, at once and many times, lose nothing and count nothing twice")
  func manyRounds() async throws {
    var dropped: Set<Int64> = []
    for round in 0..<30 as Range<Int64> {
      let seed = UInt64(100 + round * 10)
      let first = scene.events(40, day: round, seed: seed)
      try stage.writer(partitions: [2]).commit(first, partition: 2)
      try scene.age()
      // The empty day that workers make ahead is none of this.
      try scene.database.rows("UPDATE @.chat_telemetry_days SET created_at = now() WHERE day > '2025-01-01'")
      let writing = (0..<2).map { number in
        Background { [stage, scene] in
          let events = scene.events(60, day: round, seed: seed + 1 + UInt64(number))
          // In every other round the drop has a start.
          if round.isMultiple(of: 2) { usleep(.random(in: 0...30_000)) }
          let summary = try stage.writer(partitions: [Int32(number)]).commit(events, partition: Int32(number))
          return (stored: summary.stored.reduce(0, +), late: summary.lateDeadLetters.count)
        }
      }
      let dropping = Background { [scene] () throws -> DroppedPart? in
        // So that either comes first.
        usleep(.random(in: 0...20_000))
        do { return try scene.retention().dropRawDay(days: 30, lockWaitMs: 5) } catch let error
          as PostgresError
          where error.sqlState == .lockNotAvailable
        { return nil }
      }
      let drop = try await dropping.value
      var stored = 40
      var late = 0
      for each in writing {
        let outcome = try await each.value
        #expect(outcome == (60, 0) || outcome == (0, 60))
        stored += outcome.stored
        late += outcome.late
      }
      if let drop {
        #expect(drop.day == RetentionScene.day(round) && drop.rows == 40 && late == 120)
        dropped.insert(round)
      }
      let day = RetentionScene.day(round)
      #expect(
        try scene.database.rows(
          """
          SELECT (SELECT count(*) FROM @.chat_telemetry
              WHERE created_at >= '\(day) 00:00+00' AND created_at < timestamptz '\(day) 00:00+00' + interval '24 hours'),
            (SELECT sum(total_requests) FROM @.chat_telemetry_rollups_hour
              WHERE bucket_start >= '\(day) 00:00+00' AND bucket_start < timestamptz '\(day) 00:00+00' + interval '24 hours'),
            (SELECT sum(total_requests) FROM @.chat_telemetry_summary_deltas WHERE day = '\(day)'),
            (SELECT count(*) FROM @.chat_telemetry_dead_letters WHERE event_day = '\(day)'),
            (SELECT late_events FROM @.chat_telemetry_days WHERE day = '\(day)')
          """) == [[drop == nil ? "\(stored)" : "0", "\(stored)", "\(stored)", "\(late)", "\(late)"]],
        "\(day)")
      // Out of the way of the next rounds.
      try scene.database.rows("UPDATE @.chat_telemetry_days SET created_at = now() WHERE dropped_at IS NULL")
      try scene.database.rows(
        "UPDATE @.chat_telemetry_rollups_hour SET updated_at = now() + interval '100 years'")
    }
    // Both orders came up.
    #expect(!dropped.isEmpty && dropped.count < 30)
  }

  @Test("A partition that somebody detached or dropped is marked, and left as it is")
  func byHand() throws {
    let writer = try stage.writer()
    try writer.commit(scene.events(10, day: 0, seed: 31) + scene.events(10, day: 1, seed: 32))
    try scene.age()
    try scene.database.rows(
      """
      ALTER TABLE @.chat_telemetry DETACH PARTITION @.chat_telemetry_2024_05_10;
      DROP TABLE @.chat_telemetry_2024_05_11
      """)
    let retention = try scene.retention()
    for day in ["2024-05-10", "2024-05-11"] {
      #expect(
        try retention.dropRawDay(days: 30, lockWaitMs: 1_000) == DroppedPart(day: day, rows: 10, wholeDay: 10)
      )
    }
    #expect(try scene.database.number("SELECT count(*) FROM @.chat_telemetry_2024_05_10") == 10)
  }

  @Test("Keeping nothing is refused, for every step")
  func refusesZero() throws {
    for call in [
      "drop_raw_day(0, 100)", "drop_raw_day(30, 0)", "drop_hour_rollups(0, 10)", "drop_hour_rollups(9, 0)",
      "settle_day_rollups(0, 10)", "settle_day_rollups(9, 0)",
    ] {
      let error = try #require(throws: PostgresError.self) {
        try scene.database.rows("SELECT @.chat_telemetry_\(call)")
      }
      #expect(error.message.contains("must be at least 1"), "\(call)")
    }
  }
}
