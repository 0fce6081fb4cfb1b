import ArgumentParser

/// What can be measured by itself, with `--only`.
enum Scenario: String, CaseIterable, ExpressibleByArgument, Sendable {
  case floor
  case busy
  case sparse
  case obvious
  case clean
  case replay
  case wide
  case workers
  case freshness
  case refresh
  case idle
}

/// How much of everything.
struct Sizes: Sendable {
  var rounds: Int
  var events: Int
  var obviousEvents: Int
  var wideEvents: Int
  var partitions: Int
  /// Events to a batch of the floor where the worker's own is not known.
  var batch: Int
  var seed: UInt64
  var freshnessSeconds: Int
  var freshnessRate: Int
  var idleSeconds: Int
  /// Millions of stored events at which refreshing is measured, ascending.
  var storedMillions: [Int]

  /// For the report.
  var listed: [String: Int] {
    [
      "rounds": rounds, "events": events, "obvious_events": obviousEvents, "wide_events": wideEvents,
      "partitions": partitions, "freshness_events_a_second": freshnessRate,
    ]
  }
}
