import Synchronization

/// One series of a metric family: the value behind one set of label values.
public protocol MetricSeries: AnyObject, Sendable {
  /// The word after `# TYPE name` in the exposition.
  static var typeName: String { get }
  /// Appends the samples of this series.
  func write(to text: inout ExpositionText, name: String, labels: [(name: String, value: String)])
}

/// A number that only rises, such as the events stored since the start. Safe on any thread; an increment is
/// one atomic addition.
public final class Counter: MetricSeries {
  public static let typeName = "counter"
  private let count = Atomic<Int>(0)

  public init() {}

  /// Adds `n`, which must not be negative: a counter that falls looks like a restart to Prometheus.
  public func add(_ n: Int = 1) {
    assert(n >= 0, "a counter only rises, got \(n)")
    guard n > 0 else { return }
    count.wrappingAdd(n, ordering: .relaxed)
  }

  public var value: Int { count.load(ordering: .relaxed) }

  public func write(to text: inout ExpositionText, name: String, labels: [(name: String, value: String)]) {
    text.sample(name, labels, integer: value)
  }
}

/// A number that rises and falls, such as a lag. Safe on any thread.
public final class Gauge: MetricSeries {
  public static let typeName = "gauge"
  private let bits = Atomic<UInt64>(0)

  public init() {}

  public func set(_ value: Double) {
    bits.store(value.bitPattern, ordering: .relaxed)
  }

  /// Exact up to 2^53, as every Prometheus sample is.
  public func set(_ value: Int) {
    set(Double(value))
  }

  public var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

  public func write(to text: inout ExpositionText, name: String, labels: [(name: String, value: String)]) {
    text.sample(name, labels, value)
  }
}

/// Counts observations in fixed buckets. Safe on any thread; an observation takes one lock, so observe a
/// whole batch with `observe(contentsOf:)`.
public final class Histogram: MetricSeries {
  public static let typeName = "histogram"

  private struct State {
    /// One for each upper bound, and a last one for +Inf; not cumulative.
    var counts: [Int]
    var sum = 0.0
  }

  /// The upper bounds, ascending and finite; +Inf is implied.
  public let bounds: [Double]
  private let state: Mutex<State>

  /// - Parameter bounds: ascending finite upper bounds.
  public init(bounds: [Double]) {
    precondition(bounds.allSatisfy(\.isFinite), "+Inf is implied: \(bounds)")
    precondition(zip(bounds, bounds.dropFirst()).allSatisfy(<), "bounds must ascend: \(bounds)")
    self.bounds = bounds
    state = Mutex(State(counts: [Int](repeating: 0, count: bounds.count + 1)))
  }

  /// Records one value. NaN is ignored: it would make the sum useless for good.
  public func observe(_ value: Double) {
    observe(contentsOf: CollectionOfOne(value))
  }

  /// Records many values under one lock.
  public func observe(contentsOf values: some Sequence<Double>) {
    state.withLock { state in
      for value in values where !value.isNaN {
        state.counts[bucket(of: value)] += 1
        state.sum += value
      }
    }
  }

  /// The count of observations in each bucket (the last is +Inf's; not cumulative) and their sum, as of one
  /// instant.
  public var snapshot: (counts: [Int], sum: Double) {
    state.withLock { ($0.counts, $0.sum) }
  }

  /// A bucket includes its upper bound. Bounds are few, so a walk beats a binary search.
  private func bucket(of value: Double) -> Int {
    var index = 0
    while index < bounds.count, value > bounds[index] { index += 1 }
    return index
  }

  public func write(to text: inout ExpositionText, name: String, labels: [(name: String, value: String)]) {
    let (counts, sum) = snapshot
    var cumulative = 0
    for (index, count) in counts.enumerated() {
      cumulative += count
      let bound = index < bounds.count ? bounds[index] : .infinity
      let le = (name: "le", value: ExpositionText.number(bound))
      text.sample(name + "_bucket", labels + [le], integer: cumulative)
    }
    text.sample(name + "_sum", labels, sum)
    text.sample(name + "_count", labels, integer: cumulative)
  }
}
