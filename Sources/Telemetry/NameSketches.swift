/// What new events add to the all-time duration sketch of a domain (the model is null) or of a model (the domain is null).
public struct SketchDelta: Equatable, Sendable {
  public var domain: Int32
  public var model: Int32
  /// Events that have a duration.
  public var timed: Int64
  /// Where its bins stand in ``RollupDeltas/nameBins``, ascending, and its hits in ``RollupDeltas/nameBinCounts``.
  public var bins: Range<Int>
}

/// Sums up the sketches of days, domains and models by domain, and by model.
struct NameSketches {
  private(set) var rows: [SketchDelta] = []
  private(set) var bins: [Int16] = []
  private(set) var counts: [Int32] = []
  /// The hits of the name at hand by bin; all 0 between two names.
  private var hits = [Int32](repeating: 0, count: Int(DurationSketch.lastBin) + 1)

  /// The sketches of the summaries are slices of `bins` and `counts`.
  init(_ summaries: [SummaryDelta], bins: [Int16], counts: [Int32], _ order: GroupOrder) {
    let timed = summaries.indices.filter { !summaries[$0].sketch.isEmpty }
    func grouped(by name: KeyPath<SummaryDelta, Int32>) -> [(name: Int32, sketches: [Range<Int>])] {
      Dictionary(grouping: timed) { summaries[$0][keyPath: name] }
        .sorted { order.precedes($0.key, $1.key) }
        .map { (name: $0.key, sketches: $0.value.map { summaries[$0].sketch }) }
    }
    for (name, sketches) in grouped(by: \.domain) where name != StringTable.null {
      add(sketches, bins, counts, domain: name, model: StringTable.null)
    }
    for (name, sketches) in grouped(by: \.model) where name != StringTable.blank {
      add(sketches, bins, counts, domain: StringTable.null, model: name)
    }
  }

  private mutating func add(
    _ sketches: [Range<Int>], _ bins: [Int16], _ counts: [Int32], domain: Int32, model: Int32
  ) {
    var lowest = Int(DurationSketch.lastBin)
    var highest = 0
    var timed: Int64 = 0
    for sketch in sketches {
      for place in sketch {
        hits[Int(bins[place])] += counts[place]
        timed += Int64(counts[place])
      }
      lowest = min(lowest, Int(bins[sketch.lowerBound]))
      highest = max(highest, Int(bins[sketch.upperBound - 1]))
    }
    let start = self.bins.count
    for bin in lowest...highest where hits[bin] > 0 {
      self.bins.append(Int16(bin))
      self.counts.append(hits[bin])
      hits[bin] = 0
    }
    rows.append(SketchDelta(domain: domain, model: model, timed: timed, bins: start..<self.bins.count))
  }
}
