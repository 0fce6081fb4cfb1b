/// What several runs of one measurement came to.
struct Spread: Equatable, Sendable {
  /// In the order of the runs; at least one.
  let values: [Double]

  init?(_ values: [Double]) {
    guard !values.isEmpty else { return nil }
    self.values = values
  }

  var least: Double { values.min()! }
  var most: Double { values.max()! }
  /// The middle one; the mean of the two middle ones where their number is even.
  var median: Double { Self.percentile(50, of: values) }

  /// Interpolated between neighbouring order statistics, as PostgreSQL's percentile_cont does.
  static func percentile(_ percent: Double, of values: [Double]) -> Double {
    let sorted = values.sorted()
    let rank = percent / 100 * Double(sorted.count - 1)
    let lower = Int(rank)
    let upper = min(lower + 1, sorted.count - 1)
    return sorted[lower] + (rank - Double(lower)) * (sorted[upper] - sorted[lower])
  }

  /// Each value by the other's of the same run, which met the same moods of the machine; where the numbers of runs
  /// differ, the median by the median.
  func divided(by other: Spread) -> Spread? {
    guard values.count == other.values.count else { return Spread([median / other.median]) }
    return Spread(zip(values, other.values).map { $0 / $1 })
  }

  /// `1.23 (1.20..1.31)`; a single value stands alone.
  func text(digits: Int) -> String {
    let shown = { (value: Double) in NumberForm.text(value, digits: digits) }
    return values.count == 1 ? shown(median) : "\(shown(median)) (\(shown(least))..\(shown(most)))"
  }
}

/// Numbers as people read them.
enum NumberForm {
  /// With that many decimals, and a comma between thousands.
  static func text(_ value: Double, digits: Int) -> String {
    guard value.isFinite else { return "-" }
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((abs(value) * scale).rounded())
    let whole = String(scaled / Int(scale))
    var grouped = ""
    for (index, digit) in whole.enumerated() {
      if index > 0 && (whole.count - index).isMultiple(of: 3) { grouped.append(",") }
      grouped.append(digit)
    }
    let sign = value < 0 && scaled > 0 ? "-" : ""
    guard digits > 0 else { return sign + grouped }
    let fraction = String(scaled % Int(scale))
    return sign + grouped + "." + String(repeating: "0", count: digits - fraction.count) + fraction
  }
}
