import Foundation
import Telemetry
import Testing

@Suite struct RollupDeltasTests {
  private static let hour: Int64 = 3_600_000_000
  private static let day: Int64 = 86_400_000_000

  /// What a row of any of the lists is known by, with its texts spelled out.
  private struct Key: Hashable, Comparable {
    var bucket: Int64
    var domain: [UInt8]?
    var model: [UInt8]?

    init(_ bucket: Int64, _ domain: String?, _ model: String?) {
      self.bucket = bucket
      self.domain = domain.map { Array($0.utf8) }
      self.model = model.map { Array($0.utf8) }
    }

    static func < (left: Key, right: Key) -> Bool {
      if left.bucket != right.bucket { return left.bucket < right.bucket }
      func precedes(_ one: [UInt8]?, _ other: [UInt8]?) -> Bool {
        guard let other else { return false }
        return one.map { $0.lexicographicallyPrecedes(other) } ?? true
      }
      if left.domain != right.domain { return precedes(left.domain, right.domain) }
      return precedes(left.model, right.model)
    }
  }

  private static func bucket(_ time: Int64, _ size: Int64) -> Int64 {
    Int64(floor(Double(time) / Double(size)))
  }

  /// Measures as SQL's aggregates over the events would have them.
  private static func measures(_ events: [SampleEvent]) -> [Int64?] {
    let costs = events.compactMap(\.costMicros)
    let durations = events.compactMap(\.durationMs)
    return [
      Int64(events.count), Int64(events.filter(\.success).count),
      events.map(\.inputTokens).reduce(0, +), events.map(\.outputTokens).reduce(0, +),
      costs.reduce(0, +), costs.max(), durations.reduce(0, +), Int64(durations.count), durations.max(),
      events.map(\.searches).reduce(0, +), events.map(\.iterations).reduce(0, +),
      events.map(\.createdAt).min(), events.map(\.createdAt).max(),
    ]
  }

  private static func list(_ m: Measures) -> [Int64?] {
    [
      m.requests, m.successes, m.inputTokens, m.outputTokens, m.costMicros, m.maxCostMicros, m.durationMs,
      m.timed,
      m.maxDurationMs, m.searches, m.iterations, m.firstMicros, m.lastMicros,
    ]
  }

  private static func expect(
    _ rows: [RollupRow], _ batch: EventBatch, equal groups: [Key: [SampleEvent]],
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let keys = rows.map {
      Key($0.bucketStart, batch.strings.string($0.domain), batch.strings.string($0.model))
    }
    #expect(keys == groups.keys.sorted(), sourceLocation: sourceLocation)
    for (key, row) in zip(keys, rows) {
      #expect(list(row.measures) == measures(groups[key] ?? []), sourceLocation: sourceLocation)
    }
  }

  /// Events around midnights, hours and 1970, with texts that merge and texts that order awkwardly.
  private static func sample(_ numbers: inout RepeatableNumbers, count: Int) -> [SampleEvent] {
    let domains: [String?] = [
      nil, "unknown", "a", "ab", "a\u{0301}", "B", "ä.example", "zz", "日本", "😀", "\u{FFFD}", "-", "~",
    ]
    let models = ["", "unknown", "gpt", "gpt-4", "GPT", "a", "😀"]
    let anchors = [0, -day, day, -3 * hour, 20_000 * day, 20_000 * day + 5 * hour]
    return (0..<count).map { _ in
      let near = anchors.randomElement(using: &numbers)!
      let time =
        near
        + .random(
          in: [-1...1, -hour...hour, -90_000_000...90_000_000].randomElement(using: &numbers)!,
          using: &numbers)
      return SampleEvent(
        time, domain: domains.randomElement(using: &numbers)!, model: models.randomElement(using: &numbers)!,
        from: &numbers)
    }
  }

  /// A batch of the events, and those of its rows that count as new, in some order.
  private static func fill(
    _ batch: EventBatch, _ events: [SampleEvent], share: Int, _ numbers: inout RepeatableNumbers
  ) -> [Int] {
    for event in events { batch.take(event) }
    return events.indices.filter { _ in Int.random(in: 0..<10, using: &numbers) < share }
      .shuffled(using: &numbers)
  }

  @Test(
    "Hours, domains and models equal a plain aggregation of the new rows, in key order",
    arguments: [(0, 10), (1, 10), (30, 5), (400, 10), (2000, 7)])
  func rollups(count: Int, share: Int) {
    var numbers = RepeatableNumbers(seed: UInt64(count))
    let events = Self.sample(&numbers, count: count)
    let batch = EventBatch()
    let rows = Self.fill(batch, events, share: share, &numbers)
    let deltas = RollupDeltas(batch: batch, rows: rows, windowFloorMicros: 0)
    let new = rows.map { events[$0] }
    func start(_ event: SampleEvent) -> Int64 { Self.bucket(event.createdAt, Self.hour) * Self.hour }
    #expect(deltas.events == rows.count)
    Self.expect(deltas.hours, batch, equal: Dictionary(grouping: new) { Key(start($0), nil, nil) })
    Self.expect(
      deltas.domains, batch, equal: Dictionary(grouping: new) { Key(start($0), $0.domain ?? "unknown", nil) })
    Self.expect(
      deltas.models, batch,
      equal: Dictionary(grouping: new) { Key(start($0), $0.domain, $0.model.isEmpty ? "unknown" : $0.model) })
  }

  @Test("Summaries keep no domain and blank models apart from the word unknown, each with its own sketch")
  func summaries() {
    var numbers = RepeatableNumbers(seed: 4)
    let events = Self.sample(&numbers, count: 3000)
    let batch = EventBatch()
    let rows = Self.fill(batch, events, share: 9, &numbers)
    let deltas = RollupDeltas(batch: batch, rows: rows, windowFloorMicros: .max)
    let groups = Dictionary(grouping: rows.map { events[$0] }) {
      Key(Self.bucket($0.createdAt, Self.day), $0.domain, $0.model)
    }
    let keys = deltas.summaries.map {
      Key(Int64($0.day), batch.strings.string($0.domain), batch.strings.string($0.model))
    }
    #expect(keys == groups.keys.sorted())
    for (key, row) in zip(keys, deltas.summaries) {
      let group = groups[key] ?? []
      #expect(Self.list(row.measures) == Self.measures(group))
      let hits = Dictionary(grouping: group.compactMap(\.durationMs)) { DurationSketch.bin(forMs: $0) }
      #expect(Array(deltas.bins[row.sketch]) == hits.keys.sorted())
      #expect(Array(deltas.binCounts[row.sketch]) == hits.keys.sorted().map { Int32(hits[$0]!.count) })
    }
    #expect(deltas.bins.count == deltas.summaries.map(\.sketch.count).reduce(0, +))
    #expect(deltas.windows.isEmpty)
  }

  @Test("Sketches of domains and of models have the hits of all their days, and leave out what has no name")
  func sketches() {
    var numbers = RepeatableNumbers(seed: 6)
    let events = Self.sample(&numbers, count: 3000)
    let batch = EventBatch()
    let rows = Self.fill(batch, events, share: 9, &numbers)
    let deltas = RollupDeltas(batch: batch, rows: rows, windowFloorMicros: .max)
    let timed = rows.map { events[$0] }.filter { $0.durationMs != nil }
    let domains = Dictionary(grouping: timed.filter { $0.domain != nil }) { Key(0, $0.domain, nil) }
    let models = Dictionary(grouping: timed.filter { !$0.model.isEmpty }) { Key(0, nil, $0.model) }
    #expect(
      deltas.sketches.map { Key(0, batch.strings.string($0.domain), batch.strings.string($0.model)) }
        == domains.keys.sorted() + models.keys.sorted())
    for sketch in deltas.sketches {
      let name = Key(0, batch.strings.string(sketch.domain), batch.strings.string(sketch.model))
      let group = domains[name] ?? models[name] ?? []
      let hits = Dictionary(grouping: group.compactMap(\.durationMs)) { DurationSketch.bin(forMs: $0) }
      #expect(sketch.timed == group.count)
      #expect(Array(deltas.nameBins[sketch.bins]) == hits.keys.sorted())
      #expect(Array(deltas.nameBinCounts[sketch.bins]) == hits.keys.sorted().map { Int32(hits[$0]!.count) })
    }
    #expect(deltas.nameBins.count == deltas.sketches.map(\.bins.count).reduce(0, +))
  }

  @Test(
    "Windows have the minutes of each domain and of each model from the floor on",
    arguments: [Int64.min, -90_000_000, 0, 20_000 * 86_400_000_000, .max])
  func windows(floor windowFloor: Int64) {
    var numbers = RepeatableNumbers(seed: 5)
    let events = Self.sample(&numbers, count: 3000)
    let batch = EventBatch()
    let rows = Self.fill(batch, events, share: 9, &numbers)
    let deltas = RollupDeltas(batch: batch, rows: rows, windowFloorMicros: windowFloor)
    let recent = rows.map { events[$0] }.filter { $0.createdAt >= windowFloor }
    var groups: [Key: [Int64: [SampleEvent]]] = [:]
    for event in recent {
      let hour = Self.bucket(event.createdAt, Self.hour) * Self.hour
      let minute = Self.bucket(event.createdAt - hour, 60_000_000)
      if let domain = event.domain {
        groups[Key(hour, domain, nil), default: [:]][minute, default: []].append(event)
      }
      if event.model != "" {
        groups[Key(hour, nil, event.model), default: [:]][minute, default: []].append(event)
      }
    }
    let keys = deltas.windows.map {
      Key($0.hourStart, batch.strings.string($0.domain), batch.strings.string($0.model))
    }
    #expect(keys == groups.keys.sorted())
    for (key, row) in zip(keys, deltas.windows) {
      let minutes = groups[key] ?? [:]
      let ascending = minutes.keys.sorted()
      #expect(row.requests == minutes.values.map { Int64($0.count) }.reduce(0, +))
      #expect(row.costMicros == minutes.values.joined().compactMap(\.costMicros).reduce(0, +))
      #expect(deltas.windowMinutes[row.minutes].map { Int64($0) } == ascending)
      #expect(deltas.windowRequests[row.minutes].map { Int($0) } == ascending.map { minutes[$0]!.count })
      #expect(
        Array(deltas.windowCosts[row.minutes])
          == ascending.map { minutes[$0]!.compactMap(\.costMicros).reduce(0, +) })
    }
    #expect(deltas.windowMinutes.count == deltas.windows.map(\.minutes.count).reduce(0, +))
  }

  @Test("An hour begins on the hour in UTC, also before 1970")
  func hourStarts() {
    let batch = EventBatch()
    let times: [Int64] = [-1, 0, Self.hour - 1, Self.hour, -Self.hour, -Self.hour - 1]
    for (id, time) in times.enumerated() { batch.take(SampleEvent(time, id: UInt64(id), model: "m")) }
    let deltas = RollupDeltas(batch: batch, rows: Array(0..<times.count), windowFloorMicros: .max)
    #expect(deltas.hours.map(\.bucketStart) == [-2 * Self.hour, -Self.hour, 0, Self.hour])
    #expect(deltas.hours.map(\.measures.requests) == [1, 2, 2, 1])
  }

  @Test("The order of the rows does not depend on which text came first")
  func orderIsTheSame() {
    var numbers = RepeatableNumbers(seed: 6)
    let events = Self.sample(&numbers, count: 500)
    func modelKeys(_ events: [SampleEvent]) -> [Key] {
      let batch = EventBatch()
      for event in events { batch.take(event) }
      let deltas = RollupDeltas(batch: batch, rows: Array(events.indices), windowFloorMicros: .max)
      return deltas.models.map {
        Key($0.bucketStart, batch.strings.string($0.domain), batch.strings.string($0.model))
      }
    }
    #expect(modelKeys(events) == modelKeys(events.shuffled(using: &numbers)))
  }

  @Test(
    "Batches summed up one after the other come to what all their rows in one batch come to",
    arguments: [1, 2, 3, 7])
  func parts(count: Int) {
    var numbers = RepeatableNumbers(seed: UInt64(40 + count))
    let events = Self.sample(&numbers, count: 1_200)
    let whole = EventBatch()
    for event in events { whole.take(event) }
    let expected = RollupDeltas(batch: whole, rows: Array(events.indices), windowFloorMicros: 0)

    var sums = RollupSums()
    // The first one has texts and no rows, so that its numbers are taken and nothing is summed up.
    let idle = EventBatch()
    for event in events.reversed() { idle.take(event) }
    sums.add(BatchGrains(batch: idle, rows: [], windowFloorMicros: 0), of: idle)
    let batch = EventBatch()
    for part in 0..<count {
      let range = events.count * part / count..<events.count * (part + 1) / count
      for event in events[range].shuffled(using: &numbers) { batch.take(event) }
      sums.add(BatchGrains(batch: batch, rows: Array(0..<range.count), windowFloorMicros: 0), of: batch)
      batch.removeAll()
    }
    #expect(sums.events == events.count)
    let found = sums.finish()
    #expect(Self.described(found) == Self.described(expected))
  }

  /// Everything in the deltas, with the texts spelled out.
  private static func described(_ deltas: RollupDeltas) -> [String] {
    func text(_ id: Int32) -> String { deltas.texts.string(id) ?? "none" }
    let rows = (deltas.hours + deltas.domains + deltas.models).map {
      "\($0.bucketStart) \(text($0.domain)) \(text($0.model)) \($0.measures)"
    }
    let summaries = deltas.summaries.map {
      "\($0.day) \(text($0.domain)) \(text($0.model)) \($0.measures) \(deltas.bins[$0.sketch]) \(deltas.binCounts[$0.sketch])"
    }
    let windows = deltas.windows.map {
      "\($0.hourStart) \($0.requests) \($0.costMicros) \(text($0.domain)) \(text($0.model)) \(deltas.windowMinutes[$0.minutes]) "
        + "\(deltas.windowRequests[$0.minutes]) \(deltas.windowCosts[$0.minutes])"
    }
    return rows + summaries + windows
  }
}
