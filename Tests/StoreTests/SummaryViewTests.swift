import Foundation
import Store
import TestSupport
import Testing

@Suite("The summary views equal all events ever stored")
struct SummaryViewTests {
  @Test("whatever the events, folded often or seldom, late and repeated")
  func allKinds() throws {
    let stage = try SummaryStage()
    let events = stage.events(3_000, seed: 1)
    for start in stride(from: 0, to: events.count, by: 250) {
      var batch = Array(events[start..<start + 250])
      // Repeats of what was stored before are no new events.
      batch += events[max(0, start - 50)..<start]
      try stage.store.write(batch)
      if start % 500 == 0 { _ = try stage.summaries().fold() }
      if start % 1_000 == 0 {
        try stage.refresh()
        try stage.expectTruth()
      }
    }
    // Late ones, from before all others.
    try stage.store.write(
      stage.events(300, seed: 2).map { event in
        var event = event
        event.createdAtMs -= 400 * SummaryStage.dayMs
        return event
      })
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("when nearly every event makes a percentile leave its bin, and when none does")
  func movingPercentiles() throws {
    let stage = try SummaryStage()
    var durations: [Int?] = [5, 5, 5, 1_000_000, 1, 0, 0, 0, 0, 0, 77, nil, 2_000_000, 1 << 30, 3, 3, 3]
    durations += (0..<40).map { 40_000 - $0 * 1_000 }
    for (number, duration) in durations.enumerated() {
      try stage.store.write([stage.bare("one.example", "m", agoMs: Int64(number), durationMs: duration)])
      _ = try stage.summaries().fold()
      if number % 3 == 0 || number < 20 {
        try stage.refresh()
        try stage.expectTruth()
      }
    }
    // As many again at once, so that the bins are summed up for their number.
    let many = (0..<600).map { stage.bare("one.example", "m", agoMs: Int64($0), durationMs: $0 * $0) }
    for start in stride(from: 0, to: many.count, by: 60) {
      try stage.store.write(Array(many[start..<start + 60]))
      _ = try stage.summaries().fold()
    }
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("with percentiles between one bin's last value and the next bin's first, which has just come")
  func newNeighbours() throws {
    let stage = try SummaryStage()
    func add(_ domain: String, _ durations: [Int]) throws {
      try stage.store.write(durations.map { stage.bare(domain, "m", durationMs: $0) })
      _ = try stage.summaries().fold()
    }
    // So many that neither percentile leaves its bin.
    try add("median.example", Array(repeating: 10, count: 20) + Array(repeating: 1_000, count: 20))
    try add("median.example", [5, 100])
    try add("p95.example", Array(repeating: 10, count: 20) + [1_000])
    try add("p95.example", [100])
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("with null where no event has a value, and zero where the sum of none is meant")
  func allNull() throws {
    let stage = try SummaryStage()
    var event = stage.bare("null.example", "m")
    event.inputTokens = nil
    try stage.store.write([event])
    try stage.refresh()
    try stage.expectTruth()
    let row = try stage.database.rows(
      """
      SELECT avg_duration_ms, median_duration_ms, p95_duration_ms, max_duration_ms, max_cost_single_request,
        total_cost_usd_all_time = 0, total_tokens FROM @.chat_telemetry_domain_summary
      """)
    #expect(row == [[nil, nil, nil, nil, nil, "t", "0"]])
    #expect(try stage.view("chat_telemetry_model_summary", "cost_per_1k_tokens") == ["m": nil])
  }

  @Test("with the smaller name by its bytes as the most used model of equals")
  func ties() throws {
    let stage = try SummaryStage()
    try stage.store.write(
      ["b", "B", "a", "", "unknown"].map { stage.bare("tie.example", $0) }
        + ["z", "z", "ä", "ä"].map { stage.bare("other.example", $0) }
        + ["", "unknown", "a"].map { stage.bare("blank.example", $0) })
    try stage.refresh()
    #expect(
      try stage.view("chat_telemetry_domain_summary", "most_used_model")
        == ["tie.example": "unknown", "other.example": "z", "blank.example": "unknown"])
    try stage.expectTruth()
  }

  @Test("with windows that begin exactly at the start of a minute")
  func windowEdges() throws {
    let stage = try SummaryStage()
    let minute = stage.nowMs / 60_000 * 60_000
    var events: [String] = []
    for hours in [24, 168] as [Int64] {
      // Whichever minute the refresh falls into, an event stands at its edge and another right before.
      for minutes in -2...10 as ClosedRange<Int64> {
        var event = stage.bare("edge.example", "m")
        event.createdAtMs = minute + minutes * 60_000 - hours * 3_600_000
        event.costMicros = 7
        events.append(event.json(plusMicros: 0))
        event.id = UUID()
        events.append(event.json(plusMicros: -1))
      }
    }
    // The clock may be an hour ahead where the events come from.
    events.append(stage.bare("edge.example", "m", agoMs: -3_500_000).json(plusMicros: 0))
    try stage.store.write(events)
    try stage.refresh()
    try stage.expectTruth()
  }

  @Test("since any minute: of an hour, at its start, at midnight")
  func anyWindow() throws {
    let stage = try SummaryStage()
    let events = stage.events(3_000, seed: 3, spanMs: 8 * SummaryStage.dayMs - 3_600_000)
    try stage.store.write(Array(events[..<1_000]))
    _ = try stage.summaries().fold()
    try stage.store.write(Array(events[1_000...]))
    try stage.store.write(
      (0..<48 as Range<Int64>).map { hour in
        var event = stage.bare("acme.example", "small")
        event.createdAtMs = (stage.nowMs / 3_600_000 - hour) * 3_600_000
        return event
      })
    _ = try stage.summaries().fold()
    let differences = try stage.database.rows(
      """
      WITH edge AS (
        SELECT date_trunc('hour', now(), 'UTC') - make_interval(hours => g) AS since FROM generate_series(1, 170) AS g
        UNION SELECT date_trunc('minute', now(), 'UTC') - make_interval(mins => g * 37) FROM generate_series(1, 270) AS g
      ), found AS (
        SELECT since, name, requests, cost_micros FROM edge, @.chat_telemetry_since('domain', since)
      ), expected AS (
        SELECT since, domain, count(*), coalesce(sum(cost_usd), 0) * 1000000 FROM edge, @.truth
        WHERE domain IS NOT NULL AND created_at >= since GROUP BY since, domain
      )
      (SELECT * FROM found EXCEPT SELECT * FROM expected) UNION ALL (SELECT * FROM expected EXCEPT SELECT * FROM found)
      """)
    #expect(differences == [])
  }

  @Test("when raw rows and old windows are gone")
  func afterRetention() throws {
    let stage = try SummaryStage()
    try stage.store.write(stage.events(800, seed: 4))
    try stage.refresh()
    for day in try stage.database.rows(
      "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = '@.chat_telemetry'::regclass")
    {
      try stage.database.execute("DROP TABLE \(day[0]!)")
    }
    try stage.refresh()
    try stage.expectTruth()
    #expect(
      try stage.database.number(
        "SELECT count(*) FROM @.chat_telemetry_window_hours WHERE start < now() - interval '8 days'") == 0)
    // What comes later is added to what is known.
    try stage.database.execute("DELETE FROM @.chat_telemetry_days")
    try EventStore(stage.database, partition: 1).write(stage.events(200, seed: 5))
    try stage.refresh()
    try stage.expectTruth()
  }
}
