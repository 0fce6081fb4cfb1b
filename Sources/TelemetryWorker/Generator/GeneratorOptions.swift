/// What the synthetic events are like. Shares are 0 to 1.
struct GeneratorOptions: Equatable, Sendable {
  var seed: UInt64 = 1
  /// Customer domains, skewed: the first has most of the events.
  var domains = 500
  var models = 8
  var successRate = 0.97
  /// Events that searched.
  var searchShare = 0.3
  /// Events that carry log lines.
  var logShare = 0.05
  /// Events that come minutes or hours after their time.
  var lateShare = 0.02
  /// Records that repeat the bytes of an earlier one.
  var duplicateShare = 0.01
  var malformedShare = 0.0
  var timeline: EventTimeline
}

/// When the events happened, in microseconds since 1970-01-01T00:00:00Z.
enum EventTimeline: Equatable, Sendable {
  /// `count` events spread over `span` microseconds from `start`.
  case spread(start: Int64, span: Int64, count: Int)
  /// One event after the other from `start` on, `rate` a second.
  case live(start: Int64, rate: Int)

  /// No event is before this.
  var start: Int64 {
    switch self {
    case .spread(let start, _, _), .live(let start, _): start
    }
  }

  /// The time of the event at that place, and how far it may move without passing the next one.
  func slot(of index: Int) -> (time: Int64, width: Int64) {
    switch self {
    case .spread(let start, let span, let count):
      // Split, so that it does not overflow.
      let (step, rest) = span.quotientAndRemainder(dividingBy: Int64(count))
      return (start + step * Int64(index) + rest * Int64(index) / Int64(count), step)
    case .live(let start, let rate):
      let (seconds, rest) = index.quotientAndRemainder(dividingBy: rate)
      let micros = Int64(rest) * Timestamp.microsPerSecond / Int64(rate)
      return (start + Int64(seconds) * Timestamp.microsPerSecond + micros, 0)
    }
  }
}

/// What a worker must make of a generated record.
enum ExpectedOutcome: Hashable, Sendable {
  case stored
  /// The same event was there before.
  case duplicate
  /// A dead letter with this reason, as the tables name it.
  case rejected(reason: String)
}

/// A record to produce. Its memory is used again for the next one.
struct GeneratedRecord {
  /// The event's id, as text.
  var key: [UInt8] = []
  /// The event as JSON, or what is left of it.
  var value: [UInt8] = []
  var outcome = ExpectedOutcome.stored
}
