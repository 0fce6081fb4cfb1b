import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("Verification of rollups, totals, sketches and positions")
struct VerificationTests {
  private let scene: VerificationScene

  init() throws { scene = try VerificationScene() }

  // MARK: Nothing to find

  @Test(
    "What a worker stored is clean: empty, pending, folded, and by the hour", arguments: [Int64(-1), 1 << 30])
  func clean(largeDayBytes: Int64) throws {
    #expect(try scene.found(largeDayBytes: largeDayBytes) == [])
    let writer = try scene.writer()
    let events = scene.events(900, seed: 1)
    for third in 0..<3 {
      try writer.write(events[third * 300..<third * 300 + 300].map(\.json))
      #expect(try scene.found(largeDayBytes: largeDayBytes) == [])
      try scene.fold()
      #expect(try scene.found(largeDayBytes: largeDayBytes) == [])
    }
    let report = try scene.verify(largeDayBytes: largeDayBytes)
    #expect(report.isClean)
    // Three days and a bit, and tomorrow's, which has a partition and no row.
    #expect(report.days == 5)
    #expect(report.snapshots == (largeDayBytes < 0 ? 5 * 25 + 1 : 6))
  }

  @Test(
    "Every kind of white space is a blank model, and what looks like it is not; texts of any kind are clean")
  func texts() throws {
    let spaces = (0...0x10FFFF).compactMap { Unicode.Scalar(UInt32($0)) }.filter(\.properties.isWhitespace)
    let lookalikes: [Unicode.Scalar] = [
      "\u{1C}", "\u{1F}", "\u{180E}", "\u{200B}", "\u{2060}", "\u{FEFF}", "\u{0}",
    ]
    var texts = (spaces + lookalikes).map { String($0) }
    texts += [
      "", "unknown", "UNKNOWN", " \u{3000} ", " x ", "'", #"\"#, "é", "\u{1F600}",
      String(spaces.map(Character.init)),
    ]
    var events = scene.events(texts.count * 3, seed: 2, spanMs: 7_200_000)
    for place in events.indices {
      events[place].model = "@"
      events[place].domain = [nil, "unknown", "d"][place % 3]
      events[place].durationMs = [0, 1, 2, 3, nil, 60_000, Int(Int32.max)][place % 7]
    }
    let values = try events.enumerated().map { place, event in
      let text = String(
        decoding: try JSONEncoder().encode(texts[place / 3]), as: UTF8.self)
      return event.json.replacing("\"model\":\"@\"", with: "\"model\":\(text)")
    }
    try scene.writer().write(values)
    #expect(try scene.found() == [])
    try scene.fold()
    #expect(try scene.found() == [])
    #expect(
      try scene.database.number("SELECT count(*) FROM @.chat_telemetry WHERE model IN ('', ' ', '\u{3000}')")
        == 9)
  }

  @Test("Every duration's bin is the sketch's, at both ends of each bin")
  func bins() throws {
    var durations: [Int64] = [0, DurationSketch.maxMs]
    for bin in 1...DurationSketch.lastBin {
      let value = Int64(DurationSketch.value(ofBin: bin))
      durations += (-1...1).map { min(max(value + $0, 0), DurationSketch.maxMs) }
      let end = Int64(Double(value) * 1.009)
      durations += (-1...1).map { min(max(end + $0, 0), DurationSketch.maxMs) }
    }
    var events = scene.events(durations.count, seed: 3, spanMs: 3_600_000)
    for place in events.indices { events[place].durationMs = Int(durations[place]) }
    try scene.writer().write(events.map(\.json))
    try scene.fold()
    #expect(try scene.found() == [])
  }

  @Test("Writers that commit and a coordinator that folds meanwhile raise no false alarm")
  func concurrentWriter() async throws {
    let writing = Background { [scene] in
      let writer = try scene.writer()
      let events = scene.events(6_000, seed: 4)
      for start in stride(from: 0, to: events.count, by: 100) {
        try writer.write(events[start..<start + 100].map(\.json))
        if start % 300 == 0 { try scene.fold() }
      }
    }
    let scene = scene
    let looking = Background {
      var found: [String] = []
      while try scene.database.number("SELECT coalesce(sum(next_offset), 0) FROM @.chat_telemetry_offsets")
        < 6_000
      {
        found += try scene.found()
        found += try scene.found(largeDayBytes: -1)
      }
      return found
    }
    try await writing.value
    #expect(try await looking.value == [])
  }

  // MARK: Something to find

  private static let measures = [
    "success_count", "failure_count", "total_input_tokens", "total_output_tokens", "total_cost_usd",
    "max_cost_usd",
    "total_duration_ms", "timed_requests", "max_duration_ms", "total_searches", "total_iterations",
    "total_requests",
    "first_request_at", "last_request_at", "bucket_end",
  ]
  private static let rollups = ["rollups", "domain_rollups", "model_rollups"]

  /// The smallest step of a measure. Where rows merge with others, an extreme must leave those behind.
  private static func step(_ measure: String, merges: Bool) -> String {
    switch measure {
    case "first_request_at": "- interval '\(merges ? "100 days" : "1 microsecond")'"
    case "last_request_at": "+ interval '\(merges ? "100 days" : "1 microsecond")'"
    case "bucket_end": "+ interval '1 microsecond'"
    case "total_cost_usd": "+ 0.000001"
    case "max_cost_usd": merges ? "+ 10" : "+ 0.000001"
    case "max_duration_ms": merges ? "+ 100000" : "+ 1"
    default: "+ 1"
    }
  }

  @Test("One step of any measure of an hour or day rollup is found, named and shown", arguments: rollups)
  func measures(rollup: String) throws {
    try scene.fill(300, spanMs: 7_200_000)
    for (table, isDay) in [("chat_telemetry_\(rollup)_hour", false), ("chat_telemetry_\(rollup)_day", true)] {
      for measure in Self.measures {
        let row = try scene.database.rows(
          "SELECT ctid, \(measure) FROM @.\(table) WHERE \(measure) IS NOT NULL ORDER BY total_requests LIMIT 1"
        )[0]
        let corrupt = try scene.database.rows(
          """
          UPDATE @.\(table) SET \(measure) = \(measure) \(Self.step(measure, merges: isDay)) WHERE ctid = '\(row[0]!)'
          RETURNING ctid, \(measure)
          """)[0]
        let found = try scene.verify().differences.filter { $0.table == table }
        #expect(found.map(\.measure) == [measure], "\(table)")
        if !isDay && !measure.hasSuffix("_at") && measure != "bucket_end" {
          #expect(found.map { [$0.expected, $0.stored] } == [[row[1], corrupt[1]]])
        }
        try scene.database.rows(
          "UPDATE @.\(table) SET \(measure) = '\(row[1]!)' WHERE ctid = '\(corrupt[0]!)'")
      }
      #expect(try scene.found() == [])
    }
  }

  @Test("One step of any measure of a total is found and named")
  func totals() throws {
    try scene.fill(300, spanMs: 7_200_000)
    let measures = Self.measures.filter { $0 != "bucket_end" }
    for measure in measures {
      let row = try scene.database.rows(
        "SELECT ctid, \(measure) FROM @.chat_telemetry_totals WHERE \(measure) IS NOT NULL LIMIT 1")[0]
      let corrupt = try scene.database.rows(
        """
        UPDATE @.chat_telemetry_totals SET \(measure) = \(measure) \(Self.step(measure, merges: true))
        WHERE ctid = '\(row[0]!)' RETURNING ctid
        """)[0]
      let found = try scene.verify().differences.filter { $0.table == "chat_telemetry_totals" }
      #expect(found.map(\.measure) == [measure])
      try scene.database.rows(
        "UPDATE @.chat_telemetry_totals SET \(measure) = '\(row[1]!)' WHERE ctid = '\(corrupt[0]!)'")
    }
    #expect(try scene.found() == [])
  }

  @Test("A missing and a surplus row of each table are one difference each", arguments: ["hour", "day"])
  func rows(granularity: String) throws {
    for rollup in Self.rollups {
      let scene = try VerificationScene()
      try scene.fill(150)
      try scene.fold()
      let table = "chat_telemetry_\(rollup)_\(granularity)"
      let columns =
        "granularity, bucket_end, total_requests, success_count, failure_count, total_input_tokens, "
        + "total_output_tokens, total_cost_usd, total_duration_ms, timed_requests, total_searches, total_iterations, "
        + "first_request_at, last_request_at" + (rollup == "rollups" ? "" : ", domain")
        + (rollup == "model_rollups" ? ", model" : "")
      let step = granularity == "hour" ? "30 minutes" : "12 hours"
      try scene.database.rows(
        """
        INSERT INTO @.\(table) (bucket_start, \(columns)) SELECT bucket_start + interval '\(step)', \(columns)
        FROM @.\(table) ORDER BY bucket_start LIMIT 1
        """)
      try scene.database.rows(
        "DELETE FROM @.\(table) WHERE ctid = (SELECT ctid FROM @.\(table) ORDER BY bucket_start DESC LIMIT 1)"
      )
      let found = try scene.verify().differences.filter { $0.table == table && $0.measure != "duration_bins" }
      #expect(found.map(\.measure) == ["row", "row"])
      #expect(found.map { $0.expected == nil } == [true, false])
      #expect(found.map { $0.stored == nil } == [false, true])
      #expect(
        found.first?.key.map(\.column)
          == Array(
            ["bucket_start", "domain", "model"].prefix(
              rollup == "rollups" ? 1 : rollup == "domain_rollups" ? 2 : 3)))
    }
  }

  @Test("A rollup of a day that has no raw rows at all is found")
  func surplusDay() throws {
    try scene.fill(60)
    try scene.database.rows(
      """
      UPDATE @.chat_telemetry_rollups_hour SET bucket_start = '2031-01-01', bucket_end = '2031-01-01 01:00Z'
      WHERE bucket_start = (SELECT min(bucket_start) FROM @.chat_telemetry_rollups_hour)
      """
    )
    let found = try scene.verify().differences
    #expect(found.map(\.place) == ["chat_telemetry_rollups_hour row", "chat_telemetry_rollups_hour row"])
    #expect(found.last?.key.map(\.value) == ["2031-01-01T00:00:00.000000Z"])
  }

  @Test(
    "A bin, a percentile, a count of events or a position that is wrong is found and named",
    arguments: [
      (
        "sketches", "bin_counts[array_upper(bin_counts, 1)] = bin_counts[array_upper(bin_counts, 1)] + 1",
        "sketches bin_counts"
      ),
      // Which moves every count to another bin.
      ("sketches", "bin_counts = array_fill(0::bigint, ARRAY[1], ARRAY[0]) || bin_counts", "sketches bins"),
      (
        "sketches", "recent_bins = recent_bins || 7::smallint, recent_counts = recent_counts || 1",
        "sketches bins"
      ),
      ("sketches", "median_before = median_before + 1", "sketches median_before"),
      ("sketches", "p95_hits = p95_hits - 1", "sketches p95_hits"),
      ("sketches", "p95_bin = p95_bin + 1", "sketches p95_bin"),
      ("day_sketch_deltas", "bin_counts[1] = bin_counts[1] + 1", "model_rollups_day duration_bins"),
      ("model_rollups_day", "duration_bins[1] = duration_bins[1] + 1", "model_rollups_day duration_bins"),
      (
        "model_rollups_day", "duration_bin_counts[1] = duration_bin_counts[1] + 1",
        "model_rollups_day duration_bins"
      ),
      ("summary_deltas", "bins[1] = bins[1] + 1", "model_rollups_day duration_bins"),
      ("sketch_deltas", "bins[1] = bins[1] + 1", "sketch_deltas bins"),
      ("summary_deltas", "total_searches = total_searches + 1", "rollups_day total_searches"),
      ("fold_state", "folded_events = folded_events + 1", "fold_state folded_events"),
      ("pending_batches", "events = events + 1", "pending_batches events"),
      ("pending_batches", "delta_rows = delta_rows - 1", "pending_batches delta_rows"),
      ("offsets", "start_offset = next_offset + 1", "offsets next_offset"),
      ("offsets", "start_offset = -1", "offsets start_offset"),
    ])
  func others(table: String, change: String, expected: String) throws {
    try scene.fill(300)
    // Until they are settled, the sketches of days stand beside their rows.
    if table == "model_rollups_day" {
      try scene.database.rows("SELECT @.chat_telemetry_settle_day_sketches()")
    }
    try scene.database.rows("UPDATE @.chat_telemetry_\(table) SET \(change)")
    let found = try scene.verify().differences.map(\.place)
    #expect(found.contains("chat_telemetry_\(expected)"), "\(found)")
  }

  @Test("A sketch of a large day is compared with its count")
  func largeDaySketch() throws {
    try scene.fill(300)
    try scene.database.rows("SELECT @.chat_telemetry_settle_day_sketches()")
    try scene.database.rows(
      """
      UPDATE @.chat_telemetry_model_rollups_day SET duration_bin_counts[1] = duration_bin_counts[1] + 1
      WHERE timed_requests > 0
      """
    )
    let found = try scene.verify(largeDayBytes: -1).differences.map(\.place)
    #expect(found.contains("chat_telemetry_model_rollups_day duration_bin_counts"))
  }

  @Test("Positions of one topic in two clusters contradict each other")
  func clusters() throws {
    try scene.fill(60)
    try scene.database.rows(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset, cluster_id)
      VALUES ('test', 'chat-telemetry', 1, 0, 0, 'c2')
      """
    )
    let found = try scene.verify().differences
    #expect(found.map(\.text) == ["chat_telemetry_offsets cluster_id c1, as the topic's other partitions c2"])
    #expect(found[0].key.map(\.value) == ["test", "chat-telemetry", "1"])
  }

  // MARK: Ranges

  @Test("A raw row that vanished is found in the hours of the range only")
  func range() throws {
    try scene.fill(300)
    try scene.database.rows(
      "DELETE FROM @.chat_telemetry WHERE created_at = (SELECT max(created_at) FROM @.chat_telemetry)")
    let micros = try scene.database.number(
      "SELECT (extract(epoch FROM max(bucket_start)) * 1000000)::bigint FROM @.chat_telemetry_rollups_hour")
    let hour: Int64 = 3_600_000_000
    let inside = try scene.verify(from: micros + 1, to: micros + 2)
    #expect(inside.days == 1)
    #expect(
      inside.differences.contains {
        $0.place == "chat_telemetry_rollups_hour total_requests" || $0.measure == "row"
      })
    #expect(try scene.verify(to: micros).isClean)
    #expect(try scene.verify(from: micros + hour).isClean)
    #expect(!(try scene.verify().isClean))
  }

  @Test("The rollups of dropped days are compared among themselves, and the totals keep what was settled")
  func droppedDays() throws {
    try scene.fill(300)
    try scene.fold()
    let database = scene.database
    try database.rows("SELECT @.chat_telemetry_settle_day_sketches()")
    try database.dropRawRows(of: "2026-03-13")
    let report = try scene.verify()
    #expect(report.differences == [])
    #expect(report.droppedDays == ["2026-03-13"])
    #expect(report.days == 4)
    for table in Self.rollups {
      for granularity in ["hour", "day"] {
        let scope = "granularity = '\(granularity)' AND bucket_start::date = '2026-03-13'"
        let change = { (by: Int) in
          "UPDATE @.chat_telemetry_\(table) SET total_searches = total_searches + \(by) WHERE \(scope)"
        }
        try database.rows(change(1))
        #expect(!(try scene.verify().isClean))
        try database.rows(change(-1))
      }
    }
    try database.settleRollups(of: "2026-03-13")
    #expect(try scene.verify().differences == [])
    try database.rows("UPDATE @.chat_telemetry_settled_rollups SET total_iterations = total_iterations + 1")
    #expect(
      try scene.verify().differences.allSatisfy { $0.place == "chat_telemetry_totals total_iterations" })
    #expect(!(try scene.verify().isClean))
  }

  // MARK: Limits and manners

  @Test("At most so many differences are listed, and all are counted")
  func limits() throws {
    try scene.fill(300)
    try scene.database.rows(
      "UPDATE @.chat_telemetry_model_rollups_hour SET total_searches = total_searches + 1")
    let rows = try scene.database.number("SELECT count(*) FROM @.chat_telemetry_model_rollups_hour")
    for limit in [0, 1, 7] {
      let report = try scene.verify(limit: limit)
      #expect(report.differences.count == limit)
      #expect(report.differenceCount == rows)
    }
  }

  @Test("It needs no more than the worker's role may do, and waits for no writer's locks")
  func manners() throws {
    try scene.fill(60)
    let role = scene.database.role("verifier")
    let connection = try scene.database.connect()
    try connection.execute("CREATE ROLE \(role)", operation: "make a role")
    try Grants(schema: scene.database.schema).give(to: role, connection)
    // What an ingest transaction holds.
    let writer = try scene.database.connect()
    try writer.execute(
      scene.database.sql(
        """
        BEGIN; LOCK TABLE @.chat_telemetry IN ROW EXCLUSIVE MODE;
        UPDATE @.chat_telemetry_rollups_hour SET total_searches = total_searches + 1;
        SELECT FROM @.chat_telemetry_offsets FOR UPDATE
        """), operation: "write")
    try connection.execute("SET ROLE \(role)", operation: "be the worker")
    #expect(try Verification(connection: connection, schema: scene.database.schema).run().isClean)
    #expect(!connection.isInTransaction)
    try writer.execute("ROLLBACK", operation: "roll back")
  }
}
