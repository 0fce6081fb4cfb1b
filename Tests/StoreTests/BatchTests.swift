import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("A batch in one transaction")
struct BatchTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  @Test("Raw rows, rollups, deltas and positions equal a truth computed apart, after several batches")
  func equalsTheTruth() throws {
    let writer = try stage.writer()
    let events = stage.events(4_000, seed: 1)
    for start in stride(from: 0, to: events.count, by: 1_000) {
      let summary = try writer.commit(Array(events[start..<start + 1_000]))
      #expect(summary.stored == [1_000])
      #expect(summary.duplicates == [0])
      #expect(summary.eventTimes == events[start..<start + 1_000].map { $0.createdAtMs * 1_000 }.sorted())
    }
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
    #expect(try stage.nextOffset == 4_000)
    #expect(
      try stage.database.rows("SELECT events FROM @.chat_telemetry_pending_batches ORDER BY batch_id")
        == [["1000"], ["1000"], ["1000"], ["1000"]])
  }

  @Test("No domain and a blank model stay apart from the word unknown in deltas; rollups merge them")
  func unknownApart() throws {
    let writer = try stage.writer()
    let names: [(String?, String)] = [
      (nil, "m"), ("unknown", "m"), ("d", ""), ("d", "unknown"), (nil, ""), ("unknown", "unknown"),
    ]
    var events = stage.events(names.count, seed: 2)
    for (place, name) in names.enumerated() {
      events[place].createdAtMs = Stage.nowMs
      (events[place].domain, events[place].model) = name
    }
    try writer.commit(events)
    #expect(
      try stage.database.rows(
        """
        SELECT coalesce(domain, 'NULL'), model, total_requests FROM @.chat_telemetry_summary_deltas
        ORDER BY domain NULLS FIRST, model
        """) == [
          ["NULL", "", "1"], ["NULL", "m", "1"], ["d", "", "1"], ["d", "unknown", "1"],
          ["unknown", "m", "1"], ["unknown", "unknown", "1"],
        ])
    #expect(
      try stage.database.rows(
        "SELECT domain, total_requests FROM @.chat_telemetry_domain_rollups ORDER BY domain")
        == [["d", "2"], ["unknown", "4"]])
    #expect(
      try stage.database.rows(
        """
        SELECT coalesce(domain, 'NULL'), model, total_requests FROM @.chat_telemetry_model_rollups
        ORDER BY domain NULLS FIRST, model
        """) == [
          ["NULL", "m", "1"], ["NULL", "unknown", "1"], ["d", "unknown", "2"], ["unknown", "m", "1"],
          ["unknown", "unknown", "1"],
        ])
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
  }

  @Test("A batch that touches 64 days, some of them before 1970, makes them all")
  func manyDays() throws {
    let writer = try stage.writer()
    var events = stage.events(640, seed: 3)
    for place in events.indices {
      // 32 days around the epoch, to the last and the first millisecond of days, and 32 before now.
      let day = Int64(place % 64)
      let within: Int64 = place < 64 ? 0 : place < 128 ? 86_399_999 : events[place].createdAtMs % 86_400_000
      let first = day < 32 ? day - 16 : Stage.nowMs / 86_400_000 - (day - 31)
      events[place].createdAtMs = first * 86_400_000 + within
    }
    try writer.commit(events)
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(
      try stage.database.number("SELECT count(DISTINCT tableoid) FROM @.chat_telemetry") == 64)
    #expect(
      try stage.database.number(
        """
        SELECT count(*) FROM @.chat_telemetry WHERE tableoid <> to_regclass('@.chat_telemetry_'
          || to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM_DD'))
        """) == 0)
    // Tomorrow's is made ahead.
    #expect(
      try stage.database.rows("SELECT max(day) FROM @.chat_telemetry_days") == [["2026-03-16"]])
  }

  @Test(
    "Texts of any kind arrive as they were given, in rows, rollups and deltas",
    arguments: [
      #"it's \"quoted\" \\ $1 {} NULL"#, #"tab\tand\nline"#, #"\u0000nul\ud800lone"#, "\u{1F600}é漢\u{202E}",
      "NULL", #"\\N"#, "{\u{201C}\u{201D}}", "%s%n;--",
    ])
  func anyText(text: String) throws {
    let stored = text.replacing(#"\u0000"#, with: "\u{FFFD}").replacing(#"\ud800"#, with: "\u{FFFD}")
      .replacing(#"\t"#, with: "\t").replacing(#"\n"#, with: "\n").replacing(#"\""#, with: "\"")
      .replacing(#"\\"#, with: #"\"#)
    let id = UUID()
    try stage.writer().commit([
      #"{"id":"\#(id)","session_id":"s\#(text)","model":"m\#(text)","domain":"\#(text)","error":"\#(text)","#
        + #""created_at":\#(Stage.nowMs),"logs":{"\#(text)":"\#(text)"}}"#
    ])
    #expect(
      try stage.database.rows(
        """
        SELECT domain, model, session_id, error, (SELECT key || value FROM jsonb_each_text(logs))
        FROM @.chat_telemetry
        """) == [[stored, "m" + stored, "s" + stored, stored, stored + stored]])
    for table in ["model_rollups", "summary_deltas"] {
      #expect(
        try stage.database.rows("SELECT domain, model FROM @.chat_telemetry_\(table)")
          == [[stored, "m" + stored]])
    }
    #expect(
      try stage.database.rows("SELECT domain, model FROM @.chat_telemetry_window_deltas ORDER BY domain")
        == [[stored, nil], [nil, "m" + stored]])
  }

  @Test("The longest domains and models that the decoder lets pass fit into every index")
  func longestTexts() throws {
    var random = SeededGenerator(seed: 4)
    func text(_ count: Int) -> String {
      // CJK extension B: four bytes each, and nothing that compresses.
      var scalars = String.UnicodeScalarView()
      for _ in 0..<count {
        scalars.append(UnicodeScalar(UInt32.random(in: 0x20000...0x2A6DF, using: &random))!)
      }
      return String(scalars)
    }
    var event = stage.events(1, seed: 4)[0]
    event.domain = text(253)
    event.model = text(200) + String(repeating: "\u{3000}", count: 199) + "."
    let summary = try stage.writer().commit([event])
    // Over 200 scalars after trimming is a dead letter; with white space around it is not.
    #expect(summary.stored == [0])
    event.model = text(200) + String(repeating: "\u{3000}", count: 200)
    #expect(try stage.writer().commit([event]).stored == [1])
    #expect(try stage.truth([event]).differences(in: stage.database) == [])
  }

  @Test(
    "A record's own timestamp, which its producer chooses, never stops the stream",
    arguments: [Int64.max, Int64.max / 1_000, 9_224_318_016_000_000, 9_224_318_015_999_999, 0, -1, -2])
  func anyRecordTimestamp(timestampMs: Int64) throws {
    let writer = try stage.writer()
    var delivery = writer.delivery([stage.events(1, seed: 5)[0].json, "no JSON"])
    delivery.timestampMs = timestampMs
    guard case .committed(let summary) = try writer.write([delivery]) else {
      Issue.record("not committed")
      return
    }
    #expect(summary.stored == [1])
    let storable = (0..<9_224_318_016_000_000).contains(timestampMs)
    #expect(
      try stage.deadLetters("(extract(epoch FROM record_timestamp) * 1000)::numeric(20)::text")
        == [[storable ? "\(timestampMs)" : nil]])
  }

  @Test("Dead letters keep their bytes, key and place, once, however often they are delivered")
  func deadLettersOnce() throws {
    let writer = try stage.writer(partitions: [0, 1])
    var bad = writer.delivery(["{", "[1]"], partition: 1)
    bad.key = "k\u{0}\u{FF}"
    _ = try writer.write([writer.delivery([stage.events(1, seed: 6)[0].json]), bad])
    let expected: [[String?]] = [
      ["1", "0", "invalid_json", "{", "1", "6b00c3bf"], ["1", "1", "not_an_object", "[1]", "3", "6b00c3bf"],
    ]
    let columns =
      "partition, record_offset, reason, convert_from(payload, 'UTF8'), payload_bytes, encode(key, 'hex')"
    #expect(try stage.deadLetters(columns) == expected)
    // An operator sets the position back.
    try stage.database.rows("UPDATE @.chat_telemetry_offsets SET next_offset = 0")
    _ = try stage.writer(partitions: [0, 1]).write([bad])
    #expect(try stage.deadLetters(columns) == expected)
  }

  @Test("A batch without a row or with dead letters alone moves the positions and touches no rollup")
  func nothingToStore() throws {
    let writer = try stage.writer()
    try writer.commit(["nonsense"])
    _ = try writer.write([Delivery(from: 1, values: [])])
    #expect(try stage.nextOffset == 1)
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_pending_batches") == 0)
    #expect(try stage.storedCount == 0)
  }
}

/// What the deltas must hold, computed by plain dictionaries.
struct DeltaTruth {
  private var days: [String: (requests: Int, cost: Int, timed: Int)] = [:]
  private var minutes: [String: (requests: Int, cost: Int)] = [:]
  /// Events with a duration.
  private var names: [String: Int] = [:]

  init(_ events: [TestEvent]) {
    for event in events {
      let day = event.createdAtMs / 86_400_000
      let cost = event.costMicros ?? 0
      let name = "\(day) \(event.domain ?? "NULL") '\(event.model)'"
      let sums = days[name] ?? (0, 0, 0)
      days[name] = (sums.requests + 1, sums.cost + cost, sums.timed + (event.durationMs == nil ? 0 : 1))
      if event.durationMs != nil {
        if let domain = event.domain { names["domain \(domain)", default: 0] += 1 }
        if !event.model.isEmpty { names["model \(event.model)", default: 0] += 1 }
      }
      guard event.createdAtMs >= Stage.nowMs - 7 * 86_400_000 else { continue }
      let minute = event.createdAtMs / 60_000 % 1_440
      if let domain = event.domain { add(cost, "\(day) \(minute) domain \(domain)") }
      if !event.model.isEmpty { add(cost, "\(day) \(minute) model \(event.model)") }
    }
  }

  private mutating func add(_ cost: Int, _ name: String) {
    let sums = minutes[name] ?? (0, 0)
    minutes[name] = (sums.requests + 1, sums.cost + cost)
  }

  func differences(in database: TestDatabase) throws -> [String] {
    let summaries = try database.rows(
      """
      SELECT concat_ws(' ', day - date '1970-01-01', coalesce(domain, 'NULL'), quote_literal(model),
        sum(total_requests), sum(total_cost_micros), sum(timed_requests),
        sum((SELECT coalesce(sum(c), 0) FROM unnest(bin_counts) AS c)),
        bool_and(cardinality(bins) = cardinality(bin_counts)))
      FROM @.chat_telemetry_summary_deltas GROUP BY day, domain, model
      """
    ).map { $0[0]! }
    let sketches = try database.rows(
      """
      SELECT concat_ws(' ', kind, name, sum(timed_requests), sum((SELECT sum(c) FROM unnest(bin_counts) AS c)),
        bool_and(cardinality(bins) = cardinality(bin_counts)))
      FROM @.chat_telemetry_sketch_deltas GROUP BY kind, name
      """
    ).map { $0[0]! }
    let windows = try database.rows(
      """
      SELECT concat_ws(' ', extract(epoch FROM date_trunc('day', hour, 'UTC'))::bigint / 86400,
        extract(hour FROM hour AT TIME ZONE 'UTC')::integer * 60 + m.minute, CASE WHEN model IS NULL THEN 'domain' ELSE 'model' END,
        coalesce(domain, model), sum(m.requests), sum(m.cost))
      FROM @.chat_telemetry_window_deltas, unnest(minutes, minute_requests, minute_costs) AS m (minute, requests, cost)
      GROUP BY hour, domain, model, m.minute
      UNION ALL
      SELECT 'sums of an hour that are not those of its minutes' FROM @.chat_telemetry_window_deltas
      WHERE requests <> (SELECT sum(n) FROM unnest(minute_requests) AS n)
        OR cost_micros <> (SELECT sum(n) FROM unnest(minute_costs) AS n)
      """
    ).map { $0[0]! }
    let expectedDays = days.map {
      "\($0.key) \($0.value.requests) \($0.value.cost) \($0.value.timed) \($0.value.timed) t"
    }
    let expectedMinutes = minutes.map { "\($0.key) \($0.value.requests) \($0.value.cost)" }
    let expectedNames = names.map { "\($0.key) \($0.value) \($0.value) t" }
    return Set(sketches).symmetricDifference(expectedNames).sorted()
      + Set(summaries).symmetricDifference(expectedDays).sorted()
      + Set(windows).symmetricDifference(expectedMinutes).sorted()
  }
}
