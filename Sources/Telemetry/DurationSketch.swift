/// A histogram of durations with logarithmic bins, whose quantiles are within 0.9 % of the values they stand for.
///
/// This is DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
/// guarantees", PVLDB 12(12), 2019) with one more bin for 0 ms: bin 1 + i holds the durations in
/// (gamma^(i-1), gamma^i], and `2 gamma^i / (gamma + 1)` is at most `relativeError` away from each of them. Two
/// sketches merge by adding the counts of equal bins. A percentile that lies between two values is a mean of two
/// approximations with the same bound, so it has that bound as well.
public enum DurationSketch {
  /// The largest relative error of a value read from a bin.
  public static let relativeError = 0.009
  /// The ratio of neighbouring bins' upper ends, 1009/991.
  public static let gamma = (1 + relativeError) / (1 - relativeError)
  /// The longest duration, milliseconds.
  public static let maxMs: Int64 = (1 << 31) - 1

  /// The largest integer in each bin, or the largest below it where it holds none.
  private static let uppers: [Int64] = {
    var uppers: [Int64] = [0]
    var upper = 1.0
    while uppers[uppers.count - 1] < maxMs {
      uppers.append(min(Int64(upper), maxMs))
      upper *= gamma
    }
    return uppers
  }()

  /// The largest bin number.
  public static var lastBin: Int16 { Int16(uppers.count - 1) }

  /// A stretch is a 64th of an octave, which is narrower than a bin: no stretch holds more than one bin's end.
  private static let stretchBits = 6

  /// The bin of the smallest number in each stretch.
  private static let stretches: [Int16] = {
    var table: [Int16] = []
    for octave in 0..<31 {
      for stretch in 0..<(1 << stretchBits) {
        let scaled = (Int64(1 << stretchBits) + Int64(stretch)) << Int64(octave)
        let smallest = max(1, (scaled + (1 << stretchBits) - 1) >> Int64(stretchBits))
        table.append(Int16(uppers.firstIndex { $0 >= smallest } ?? uppers.count - 1))
      }
    }
    return table
  }()

  /// The bin that a duration counts in.
  ///
  /// - Parameter ms: Milliseconds; what lies outside 0 ... ``maxMs`` counts as the nearer end.
  @inline(__always)
  public static func bin(forMs ms: Int64) -> Int16 {
    if ms <= 0 { return 0 }
    let ms = min(ms, maxMs)
    let octave = 63 - ms.leadingZeroBitCount
    let fraction = Int(truncatingIfNeeded: (ms << Int64(63 - octave)) >> Int64(63 - stretchBits))
    let bin = stretches[octave << stretchBits + (fraction & ((1 << stretchBits) - 1))]
    return ms > uppers[Int(bin)] ? bin + 1 : bin
  }

  /// The duration that a bin stands for, in milliseconds.
  ///
  /// Bin 0 is 0; the others are at least 1 and at most ``maxMs``, which keeps the bound, as no integer lies outside.
  public static func value(ofBin bin: Int16) -> Double {
    if bin <= 0 { return 0 }
    var power = 1.0
    var factor = gamma
    var exponent = Int(bin) - 1
    while exponent > 0 {
      if exponent & 1 == 1 { power *= factor }
      factor *= factor
      exponent >>= 1
    }
    return min(max(2 * power / (gamma + 1), 1), Double(maxMs))
  }

  /// The percentile of the durations counted, interpolated between neighbouring ones as PostgreSQL's
  /// `percentile_cont` does.
  ///
  /// - Parameters:
  ///   - fraction: 0 ... 1.
  ///   - bins: Ascending.
  ///   - counts: As many, none negative.
  /// - Returns: Milliseconds; nil when nothing was counted.
  public static func percentile<Bins: Collection<Int16>, Counts: Collection>(
    _ fraction: Double, bins: Bins, counts: Counts
  ) -> Double? where Counts.Element: BinaryInteger {
    precondition(fraction >= 0 && fraction <= 1, "a percentile is a fraction from 0 to 1, not \(fraction)")
    let total = counts.reduce(Int64(0)) { $0 + Int64($1) }
    if total == 0 { return nil }
    let rank = fraction * Double(total - 1)
    let lower = Int64(rank)
    let low = value(atRank: lower, bins: bins, counts: counts)
    let between = rank - Double(lower)
    if between == 0 { return low }
    return low + (value(atRank: lower + 1, bins: bins, counts: counts) - low) * between
  }

  /// The value at a place, from 0, in the ascending order of all that was counted.
  private static func value<Bins: Collection<Int16>, Counts: Collection>(
    atRank rank: Int64, bins: Bins, counts: Counts
  ) -> Double where Counts.Element: BinaryInteger {
    var seen: Int64 = 0
    for (bin, count) in zip(bins, counts) {
      seen += Int64(count)
      if seen > rank { return value(ofBin: bin) }
    }
    preconditionFailure("rank \(rank) of \(seen) durations: bins and counts differ in length")
  }
}
