import Postgres
import Store
import TestSupport
import Testing

@Suite("Rebuilding rollups, totals, sketches and windows")
struct RebuildTests {
  // MARK: What verify finds, rebuild mends

  @Test(
    "Any wrong value in any column, any missing and any surplus row is found and put right",
    arguments: RebuildStage.tables)
  func anything(table: String) throws {
    let stage = try RebuildStage()
    #expect(try stage.verify().differences == [])
    let columns = try stage.columns(of: table)
    #expect(!columns.isEmpty)

    // Plain values side by side, for each must be found by its name; arrays and keys one by one.
    let plain = columns.filter { !$0.isKey && !$0.isArray }
    if !plain.isEmpty {
      let truth = try stage.contents()
      try stage.corrupt(plain, of: table)
      let found = try stage.verify().differences.filter { $0.table == table }.map(\.measure)
      #expect(Set(found).isSuperset(of: plain.map(\.name)))
      try expectMended(stage, truth, "\(plain.map(\.name))")
    }
    for (place, column) in columns.filter({ $0.isKey || $0.isArray }).enumerated() {
      if table == "chat_telemetry_day_sketch_deltas" {
        try stage.fillDaySketchDeltas(seed: UInt64(50 + place))
      }
      let truth = try stage.contents()
      try stage.corrupt([column], of: table)
      #expect(!(try stage.verify().isClean), "\(column.name)")
      try expectMended(stage, truth, column.name)
    }
    if table == "chat_telemetry_day_sketch_deltas" { try stage.fillDaySketchDeltas(seed: 60) }
    if table != "chat_telemetry_fold_state" {
      let truth = try stage.contents()
      try stage.deleteRow(of: table)
      let missing = try stage.verify().differences
      #expect(!missing.isEmpty)
      try stage.addRow(to: table)
      #expect(try stage.verify().differences != missing)
      try expectMended(stage, truth, "rows")
    }
    try stage.summaries.refresh()
    try stage.summaries.expectTruth()
  }

  private func expectMended(_ stage: RebuildStage, _ truth: [[String?]], _ what: String) throws {
    let report = try stage.rebuild()
    #expect(report.differenceCount > 0 && report.notRebuilt == [], "\(what)")
    #expect(try stage.verify().differences.map(\.text) == [], "\(what)")
    let contents = try stage.contents()
    #expect(
      contents == truth,
      "\(what): \(Set(contents).subtracting(truth).prefix(3)) for \(Set(truth).subtracting(contents).prefix(3))"
    )
  }

  @Test("Where nothing differs nothing is written")
  func nothing() throws {
    let stage = try RebuildStage()
    let versions = RebuildStage.tables.map { "SELECT '\($0)', ctid::text, xmin::text FROM @.\($0)" }
      .joined(separator: " UNION ALL ")
    let before = try stage.database.rows("\(versions) ORDER BY 1, 2")
    let report = try stage.rebuild()
    #expect(report.rebuiltParts == 0 && report.differenceCount == 0 && report.notRebuilt == [])
    #expect(try stage.database.rows("\(versions) ORDER BY 1, 2") == before)
  }

  @Test("Raw rows that were deleted leave rollups, totals and extremes when their day is rebuilt")
  func deletedRawRows() throws {
    let stage = try RebuildStage()
    try stage.summaries.refresh()
    for table in ["chat_telemetry", "truth"] {
      try stage.database.rows(
        "DELETE FROM @.\(table) WHERE domain = 'acme.example' AND (duration_ms > 60000 OR cost_usd > 1 OR model = '')"
      )
    }
    let day: Int64 = 86_400_000_000
    let now = stage.summaries.nowMs * 1_000
    try stage.rebuild(.range(from: now - 2 * day, to: now + day))
    #expect(try stage.verify().differences.map(\.text) == [])
    try stage.summaries.refresh()
    try stage.summaries.expectTruth()
  }

  @Test("A dry run shows what would change, with both values, and changes nothing")
  func dryRun() throws {
    let stage = try RebuildStage()
    try stage.database.rows(
      """
      UPDATE @.chat_telemetry_rollups_hour SET total_searches = total_searches + 1
      WHERE bucket_start = (SELECT min(bucket_start) FROM @.chat_telemetry_rollups_hour)
      """)
    let before = try stage.contents()
    let report = try stage.rebuild(dryRun: true)
    #expect(report.differences.map(\.place) == ["chat_telemetry_rollups_hour total_searches"])
    #expect(
      report.differences.first.map { Int($0.stored ?? "") }
        == report.differences.first.map { Int($0.expected ?? "")! + 1 })
    #expect(report.rebuiltParts == 0)
    #expect(try stage.contents() == before)
    #expect(try stage.rebuild().differences == report.differences)
    #expect(try stage.verify().isClean)
  }

  // MARK: Ranges

  @Test("A range rebuilds its own hours only, and totals are not made from days that contradict themselves")
  func ranges() throws {
    let stage = try RebuildStage()
    let truth = try stage.contents()
    try stage.database.rows(
      """
      UPDATE @.chat_telemetry_rollups_day SET total_searches = total_searches + 1;
      UPDATE @.chat_telemetry_totals SET total_searches = total_searches + 1
      """)
    let start = try stage.database.number(
      "SELECT (extract(epoch FROM max(bucket_start)) * 1000000)::bigint FROM @.chat_telemetry_rollups_day")
    let later = try stage.rebuild(.range(from: start, to: nil))
    #expect(later.notRebuilt.count == 1)
    #expect(
      Set(try stage.verify().differences.map(\.table)) == [
        "chat_telemetry_rollups_day", "chat_telemetry_totals",
      ])
    #expect(try stage.rebuild(.range(from: nil, to: start)).notRebuilt == [])
    #expect(try stage.verify().isClean)
    #expect(try stage.contents() == truth)
  }

  @Test("A range whose raw rows were dropped is refused, its days are named, and nothing is written")
  func refused() throws {
    let stage = try RebuildStage()
    let day = try stage.database.rows("SELECT min(day) FROM @.chat_telemetry_days")[0][0]!
    try dropFirstDay(stage, settle: false)
    try stage.database.rows("UPDATE @.chat_telemetry_rollups_hour SET total_searches = total_searches + 1")
    let before = try stage.contents()
    let refusal = #expect(throws: RebuildRefused.self) { try stage.rebuild(.range(from: nil, to: nil)) }
    #expect(refusal?.droppedDays == [day])
    #expect(try stage.contents() == before)
    // All days leaves it as it is and rebuilds the others.
    let report = try stage.rebuild()
    #expect(report.droppedDays == [day])
    #expect(report.notRebuilt.count == 1)
    let left = try stage.verify().differences
    #expect(!left.isEmpty && left.allSatisfy { $0.key[0].value?.hasPrefix(day) == true })
  }

  @Test(
    "Totals and sketches can be rebuilt after raw rows and day rollups are gone", arguments: [false, true])
  func afterRetention(isSettled: Bool) throws {
    let stage = try RebuildStage()
    _ = try stage.summaries.summaries().fold()
    try dropFirstDay(stage, settle: isSettled)
    #expect(try stage.verify().differences.map(\.text) == [])
    let truth = try stage.contents()
    for domain in ["domain = 'acme.example'", "domain IS NULL"] {
      for change in [
        """
        UPDATE @.chat_telemetry_totals SET total_searches = total_searches + 5, max_duration_ms = 2147483647,
          first_request_at = '2001-01-01Z' WHERE \(domain) AND model NOT IN ('', 'unknown')
        """,
        "UPDATE @.chat_telemetry_totals SET total_searches = total_searches + 5 WHERE \(domain) AND model = 'unknown'",
        "DELETE FROM @.chat_telemetry_totals WHERE \(domain) AND model = 'large'",
        """
        UPDATE @.chat_telemetry_sketches SET median_bin = 0,
          bin_counts[array_upper(bin_counts, 1)] = bin_counts[array_upper(bin_counts, 1)] + 1 WHERE name = 'large'
        """,
      ] {
        try stage.database.rows(change)
        #expect(!(try stage.verify().isClean))
        #expect(try stage.rebuild().notRebuilt == [])
        #expect(try stage.verify().differences.map(\.text) == [])
        #expect(try stage.contents() == truth)
      }
    }
  }

  private func dropFirstDay(_ stage: RebuildStage, settle: Bool) throws {
    try stage.summaries.summaries().settleDaySketches()
    let day = try stage.database.rows("SELECT min(day) FROM @.chat_telemetry_days")[0][0]!
    try stage.database.dropRawRows(of: day)
    if settle { try stage.database.settleRollups(of: day) }
  }

  // MARK: Live

  @Test("Beside writers, folds and settling, again and again, no event is lost or counted twice")
  func live() async throws {
    let stage = try RebuildStage()
    let database = stage.database
    let events = stage.summaries.events(3_000, seed: 43, spanMs: 26 * 3_600_000)
    let writers = (0..<2).map { number in
      Background {
        let store = try EventStore(database, partition: Int32(number + 1))
        for start in stride(from: number * 1_500, to: (number + 1) * 1_500, by: 30) {
          try store.write(Array(events[start..<start + 30]))
        }
      }
    }
    let folder = Background {
      let summaries = Summaries(connection: try database.connect(), schema: database.schema)
      while try database.number("SELECT count(*) FROM @.truth") < 3_620 {
        _ = try summaries.fold()
        try summaries.settleDaySketches()
      }
    }
    var round = 0
    repeat {
      // The lock of their writers keeps this from deadlocking with them.
      for (table, lock) in Self.liveTables {
        try database.rows(
          """
          BEGIN; SELECT pg_advisory_xact_lock('@.\(lock)'::regclass::oid::bigint);
          UPDATE @.\(table) SET total_requests = total_requests + 3, max_duration_ms = 2147483647,
            first_request_at = '2001-01-01Z' WHERE total_requests % 7 = \(round % 7);
          DELETE FROM @.\(table) WHERE total_requests % 11 = \(round % 11);
          COMMIT
          """)
      }
      #expect(try stage.rebuild().notRebuilt == [])
      round += 1
    } while try database.number("SELECT count(*) FROM @.truth") < 3_620
    for writer in writers { try await writer.value }
    try await folder.value
    #expect(round > 1)
    #expect(try stage.verify().differences.map(\.text) == [])
    try stage.summaries.refresh()
    try stage.summaries.expectTruth()
    #expect(try stage.verify().differences.map(\.text) == [])
  }

  private static let liveTables =
    ["rollups", "domain_rollups", "model_rollups"].flatMap {
      [
        ("chat_telemetry_\($0)_hour", "chat_telemetry_rollups"),
        ("chat_telemetry_\($0)_day", "chat_telemetry_fold_state"),
      ]
    } + [("chat_telemetry_totals", "chat_telemetry_fold_state")]

  @Test("The worker's role may do it, and nobody waits for a comparison")
  func manners() throws {
    let stage = try RebuildStage()
    let role = stage.database.role("rebuilder")
    let owner = try stage.database.connect()
    try owner.execute("CREATE ROLE \(role)", operation: "make a role")
    try Grants(schema: stage.database.schema).give(to: role, owner)
    let truth = try stage.contents()
    for table in RebuildStage.tables where !table.hasSuffix("deltas") {
      let plain = try stage.columns(of: table).filter { !$0.isKey && !$0.isArray }
      if !plain.isEmpty { try stage.corrupt(plain, of: table) }
    }
    let worker = try stage.database.connect()
    try worker.execute("SET ROLE \(role)", operation: "be the worker")
    // What an ingest transaction and a fold hold.
    let holder = try stage.database.connect()
    try holder.execute(
      stage.database.sql(
        """
        BEGIN; LOCK TABLE @.chat_telemetry IN ROW EXCLUSIVE MODE;
        SELECT pg_advisory_xact_lock('@.chat_telemetry_rollups'::regclass::oid::bigint),
          pg_advisory_xact_lock('@.chat_telemetry_fold_state'::regclass::oid::bigint)
        """), operation: "hold the locks")
    let dry = Rebuild(connection: worker, schema: stage.database.schema, dryRun: true)
    #expect(try dry.run(.all).differenceCount > 0)
    try holder.execute("ROLLBACK", operation: "let go")
    _ = try Rebuild(connection: worker, schema: stage.database.schema).run(.all)
    #expect(try stage.contents() == truth)
  }
}
