/// What a group of events adds to a rollup: sums, extremes and the span of event time.
public struct Measures: Equatable, Sendable, BitwiseCopyable {
  public var requests: Int64
  public var successes: Int64
  public var inputTokens: Int64
  public var outputTokens: Int64
  /// Micro-dollars; an event without a cost adds 0.
  public var costMicros: Int64
  /// Nil when no event has a cost.
  public var maxCostMicros: Int64?
  /// Milliseconds, over the events that have a duration.
  public var durationMs: Int64
  /// Events that have a duration.
  public var timed: Int64
  /// Nil when no event has a duration.
  public var maxDurationMs: Int64?
  public var searches: Int64
  public var iterations: Int64
  /// The earliest and the latest event time, microseconds since 1970.
  public var firstMicros: Int64
  public var lastMicros: Int64

  /// The measures of one event.
  @inline(__always)
  public init(_ facts: EventFacts) {
    requests = 1
    successes = facts.success ? 1 : 0
    inputTokens = facts.inputTokens
    outputTokens = facts.outputTokens
    costMicros = facts.costMicros ?? 0
    maxCostMicros = facts.costMicros
    durationMs = facts.durationMs ?? 0
    timed = facts.durationMs == nil ? 0 : 1
    maxDurationMs = facts.durationMs
    searches = facts.searches
    iterations = facts.iterations
    firstMicros = facts.key.createdAt
    lastMicros = facts.key.createdAt
  }

  /// Adds one event.
  @inline(__always)
  public mutating func add(_ facts: EventFacts) { merge(Measures(facts)) }

  /// Adds the measures of other events.
  @inline(__always)
  public mutating func merge(_ other: Measures) {
    requests += other.requests
    successes += other.successes
    inputTokens += other.inputTokens
    outputTokens += other.outputTokens
    costMicros += other.costMicros
    maxCostMicros = Self.larger(maxCostMicros, other.maxCostMicros)
    durationMs += other.durationMs
    timed += other.timed
    maxDurationMs = Self.larger(maxDurationMs, other.maxDurationMs)
    searches += other.searches
    iterations += other.iterations
    firstMicros = min(firstMicros, other.firstMicros)
    lastMicros = max(lastMicros, other.lastMicros)
  }

  @inline(__always)
  private static func larger(_ left: Int64?, _ right: Int64?) -> Int64? {
    guard let left else { return right }
    guard let right else { return left }
    return max(left, right)
  }
}
