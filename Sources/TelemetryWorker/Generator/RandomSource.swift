/// A stream of numbers that a seed decides, the same on every platform: it uses integers and IEEE arithmetic only, no
/// libm, whose last digits differ.
///
/// SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
struct RandomSource {
  private var state: UInt64
  private static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

  /// Each stream of a seed is independent of the others, so that an event is the same whatever came before it.
  init(seed: UInt64, stream: UInt64 = 0) {
    state = Self.mix(seed &+ Self.gamma) ^ Self.mix(stream &* Self.gamma &+ 1)
  }

  @inline(__always)
  mutating func next() -> UInt64 {
    state &+= Self.gamma
    return Self.mix(state)
  }

  @inline(__always)
  static func mix(_ value: UInt64) -> UInt64 {
    var mixed = value
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// 0 ..< bound. The bias is under bound / 2^64.
  @inline(__always)
  mutating func below(_ bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// True for that share of the calls.
  @inline(__always)
  mutating func chance(_ share: Double) -> Bool { unit() < share }

  /// 0 ..< 1.
  @inline(__always)
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Nearly normal with mean 0 and deviation 1, within ±6: the sum of twelve uniform numbers (Irwin-Hall).
  mutating func normal() -> Double {
    var sum: UInt64 = 0
    for _ in 0..<3 {
      let bits = next()
      sum += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + bits >> 48
    }
    return (Double(sum) + 6) * 0x1p-16 - 6
  }

  /// A log-normal number, rounded and kept within the range. `sigma` is the deviation of its logarithm.
  mutating func logNormal(median: Double, sigma: Double, _ range: ClosedRange<Int>) -> Int {
    let value = median * Self.exponential(sigma * normal())
    return min(max(Int(value.rounded()), range.lowerBound), range.upperBound)
  }

  /// e to the power of x, for |x| under 700, to about 10 digits: 2^n by the exponent, the rest by Taylor's series.
  static func exponential(_ x: Double) -> Double {
    let inTwos = x * 1.442_695_040_888_963_4
    let whole = inTwos.rounded()
    let rest = (inTwos - whole) * 0.693_147_180_559_945_3
    var sum = 1.0
    for term in stride(from: 10.0, to: 0.0, by: -1.0) { sum = 1 + sum * rest / term }
    return sum * Double(sign: .plus, exponent: Int(whole), significand: 1)
  }
}

/// Picks 0 ..< count with weights 1, 1/2, 1/3, ...: Zipf's law with exponent 1, as customers and words have it.
struct ZipfDistribution {
  /// Integers, so that every platform picks alike.
  private let cumulative: [UInt64]

  init(count: Int) {
    precondition(count > 0, "a distribution needs something to pick")
    var sum: UInt64 = 0
    cumulative = (1...UInt64(count)).map { rank in
      sum += (1 << 40) / rank
      return sum
    }
  }

  func pick(_ random: inout RandomSource) -> Int {
    let point = UInt64(random.below(Int(cumulative[cumulative.count - 1])))
    var (low, high) = (0, cumulative.count - 1)
    while low < high {
      let middle = (low + high) / 2
      if cumulative[middle] > point { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
