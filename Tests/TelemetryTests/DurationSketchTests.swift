import Foundation
import Telemetry
import Testing

@Suite struct DurationSketchTests {
  private let maxMs = Int64(Int32.max)

  /// Small numbers, all ends of bins with their neighbours, and random large ones.
  private func interestingDurations() -> [Int64] {
    var numbers = RepeatableNumbers(seed: 3)
    var durations = Array(Int64(1)...100_000)
    for exponent in 0..<1200 {
      let end = Int64(min(pow(DurationSketch.gamma, Double(exponent)), Double(maxMs)))
      durations += (end - 2...end + 2)
    }
    durations += (0..<100_000).map { _ in .random(in: 1...maxMs, using: &numbers) }
    durations += (0...30).flatMap { [1 << $0 - 1, 1 << $0, 1 << $0 + 1] }
    return durations.filter { $0 >= 1 && $0 <= maxMs }.sorted()
  }

  @Test("A duration's bin is one more than the logarithm to the base gamma, rounded up")
  func binIsTheLogarithm() {
    let wrong = interestingDurations().filter { ms in
      let exponent = log(Double(ms)) / log(DurationSketch.gamma)
      // Next to a whole number the logarithm itself is not exact enough to tell; bounds and order are tested below.
      if abs(exponent - exponent.rounded()) < 1e-9 && ms > 1 { return false }
      return DurationSketch.bin(forMs: ms) != 1 + Int16(exponent.rounded(.up))
    }
    #expect(wrong == [])
    #expect(DurationSketch.bin(forMs: 0) == 0)
    #expect(DurationSketch.bin(forMs: 1) == 1)
    #expect(DurationSketch.bin(forMs: maxMs) == DurationSketch.lastBin)
    #expect(DurationSketch.bin(forMs: -5) == 0)
    #expect(DurationSketch.bin(forMs: .max) == DurationSketch.lastBin)
  }

  @Test("A longer duration never has a lower bin, and a bin's value is within the bound of all its durations")
  func binsAreMonotoneAndBounded() {
    let durations = interestingDurations()
    let falls = zip(durations, durations.dropFirst()).filter {
      DurationSketch.bin(forMs: $0) > DurationSketch.bin(forMs: $1)
    }
    #expect(falls.map(\.1) == [])
    let beyond = durations.filter { ms in
      let error = abs(DurationSketch.value(ofBin: DurationSketch.bin(forMs: ms)) - Double(ms))
      return error > (DurationSketch.relativeError + 1e-12) * Double(ms)
    }
    #expect(beyond == [])
  }

  @Test("A bin's value is the closed form that SQL uses too, kept within the durations there are")
  func valueIsTheClosedForm() {
    #expect(DurationSketch.value(ofBin: 0) == 0)
    let wrong = (1...DurationSketch.lastBin).filter { bin in
      let exact = 2 * pow(DurationSketch.gamma, Double(bin - 1)) / (DurationSketch.gamma + 1)
      let kept = min(max(exact, 1), Double(maxMs))
      return abs(DurationSketch.value(ofBin: bin) - kept) > 1e-12 * kept
    }
    #expect(wrong == [])
  }

  /// percentile_cont as the SQL standard defines it, over the values themselves.
  private func exactPercentile(_ fraction: Double, _ values: [Int64]) -> Double {
    let sorted = values.sorted()
    let rank = fraction * Double(sorted.count - 1)
    let low = Double(sorted[Int(floor(rank))])
    let high = Double(sorted[Int(ceil(rank))])
    return low + (high - low) * (rank - floor(rank))
  }

  private func sketchPercentile(_ fraction: Double, _ values: [Int64]) -> Double? {
    var counts: [Int16: Int32] = [:]
    for value in values { counts[DurationSketch.bin(forMs: value), default: 0] += 1 }
    let bins = counts.keys.sorted()
    return DurationSketch.percentile(fraction, bins: bins, counts: bins.map { counts[$0]! })
  }

  @Test("A percentile is within 1 % of percentile_cont", arguments: [1, 2, 3, 4, 7, 100, 1001, 5000])
  func percentileIsClose(count: Int) throws {
    var numbers = RepeatableNumbers(seed: UInt64(count))
    func lognormal(_ numbers: inout RepeatableNumbers) -> Int64 {
      let first = Double.random(in: Double.ulpOfOne...1, using: &numbers)
      let second = Double.random(in: 0...1, using: &numbers)
      let normal = (-2 * log(first)).squareRoot() * cos(2 * .pi * second)
      return Int64(min(exp(8 + 1.5 * normal), Double(maxMs)))
    }
    let draws: [(inout RepeatableNumbers) -> Int64] = [
      { .random(in: 0...maxMs, using: &$0) },
      { .random(in: 0...20, using: &$0) },
      { lognormal(&$0) },
      { Int.random(in: 0..<3, using: &$0) < 2 ? 0 : .random(in: 1...100_000, using: &$0) },
      { Bool.random(using: &$0) ? 0 : maxMs },
      { _ in 12_345 },
    ]
    for draw in draws {
      for _ in 0..<20 {
        let values = (0..<count).map { _ in draw(&numbers) }
        for fraction in [0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.999, 1] {
          let exact = exactPercentile(fraction, values)
          let close = try #require(sketchPercentile(fraction, values))
          #expect(abs(close - exact) <= 0.0091 * exact, "\(fraction) of \(values.prefix(5))")
        }
      }
    }
  }

  @Test("A sketch of nothing has no percentile")
  func emptySketch() {
    #expect(DurationSketch.percentile(0.5, bins: [], counts: [Int32]()) == nil)
    #expect(DurationSketch.percentile(0.5, bins: [4], counts: [Int64(0)]) == nil)
  }
}
