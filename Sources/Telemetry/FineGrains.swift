/// Events by hour, domain and model, and their durations: the grain that every rollup is made from.
struct FineGrains: ~Copyable, Sendable {
  private(set) var groups = MeasureGroups()
  /// One for each event with a duration: the number of its group, then its sketch bin.
  private var hits = ContiguousArray<UInt64>()
  private static let binBits = 11

  @inline(__always)
  mutating func add(_ event: BatchRow) {
    let facts = event.facts
    let hour = UTCBucket.hourStart(ofMicros: facts.key.createdAt)
    let number = groups.add(facts, to: GroupKey(bucket: hour, domain: event.domain, model: event.model))
    guard let durationMs = facts.durationMs else { return }
    hits.append(
      UInt64(number) << UInt64(Self.binBits) | UInt64(DurationSketch.bin(forMs: durationMs)))
  }

  /// Adds what other events were grouped to, their texts having other numbers.
  mutating func merge(_ other: consuming FineGrains, _ texts: TextNumbers) {
    var numbers = ContiguousArray<UInt64>()
    numbers.reserveCapacity(other.groups.keys.count)
    for (key, measures) in zip(other.groups.keys, other.groups.measures) {
      let key = GroupKey(bucket: key.bucket, domain: texts[key.domain], model: texts[key.model])
      numbers.append(UInt64(groups.merge(measures, into: key)))
    }
    let binMask = (UInt64(1) << UInt64(Self.binBits)) - 1
    for hit in other.hits {
      let number = numbers[Int(hit >> UInt64(Self.binBits))]
      hits.append(number << UInt64(Self.binBits) | hit & binMask)
    }
  }

  /// The groups merged by day, each with its sketch.
  consuming func summaries(_ order: GroupOrder) -> ([SummaryDelta], bins: [Int16], counts: [Int32]) {
    var days = MeasureGroups()
    var dayOfGroup = ContiguousArray<Int>()
    for (key, measures) in zip(groups.keys, groups.measures) {
      let day = Int64(UTCBucket.day(ofMicros: key.bucket))
      dayOfGroup.append(
        days.merge(measures, into: GroupKey(bucket: day, domain: key.domain, model: key.model)))
    }
    let sorted = order.sorted(days.keys)
    var placeOfDay = ContiguousArray(repeating: 0, count: sorted.count)
    for (place, number) in sorted.enumerated() { placeOfDay[number] = place }
    let sketches = Sketches(
      hits: sortedHits(dayOfGroup.map { placeOfDay[$0] }, placeCount: sorted.count),
      placeCount: sorted.count)
    let keys = days.keys
    let rows = sorted.enumerated().map { place, number in
      SummaryDelta(
        day: Int32(keys[number].bucket), domain: keys[number].domain, model: keys[number].model,
        measures: days.measures[number], sketch: sketches.ranges[place])
    }
    return (rows, sketches.bins, sketches.counts)
  }

  /// The hits by the place of their summary instead of the number of their group, then by bin.
  private consuming func sortedHits(_ placeOfGroup: [Int], placeCount: Int) -> ContiguousArray<UInt64> {
    let binMask = (UInt64(1) << UInt64(Self.binBits)) - 1
    var hits = hits
    for index in hits.indices {
      let place = UInt64(placeOfGroup[Int(hits[index] >> UInt64(Self.binBits))])
      hits[index] = place << UInt64(Self.binBits) | hits[index] & binMask
    }
    radixSort(&hits, bits: 0..<Self.binBits + bitsNeeded(forCount: placeCount))
    return hits
  }

  /// Runs of equal hits, counted.
  private struct Sketches {
    var bins: [Int16] = []
    var counts: [Int32] = []
    var ranges: [Range<Int>] = []

    init(hits: ContiguousArray<UInt64>, placeCount: Int) {
      let binMask = (UInt64(1) << UInt64(FineGrains.binBits)) - 1
      ranges.reserveCapacity(placeCount)
      var index = 0
      for place in 0..<placeCount {
        let start = bins.count
        while index < hits.count && Int(hits[index] >> UInt64(FineGrains.binBits)) == place {
          let hit = hits[index]
          var end = index + 1
          while end < hits.count && hits[end] == hit { end += 1 }
          bins.append(Int16(hit & binMask))
          counts.append(Int32(end - index))
          index = end
        }
        ranges.append(start..<bins.count)
      }
    }
  }
}
