/// Takes one record; key and value are valid during the call only.
typealias RecordSink = (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws -> Void

/// What was generated, and what a worker must make of it.
struct ProductionSummary: Equatable, Sendable, Encodable {
  var records = 0
  /// Of the values; keys are not counted.
  var bytes = 0
  var stored = 0
  var duplicates = 0
  /// Dead letters by reason.
  var rejected: [String: Int] = [:]

  mutating func count(_ record: GeneratedRecord) {
    records += 1
    bytes += record.value.count
    switch record.outcome {
    case .stored: stored += 1
    case .duplicate: duplicates += 1
    case .rejected(let reason): rejected[reason, default: 0] += 1
    }
  }
}

/// When the next record is due.
struct Pacer {
  /// Records a second; 0 is as fast as possible.
  let rate: Int

  /// How many records are due after that time, in nanoseconds; nil is no limit.
  func due(after elapsed: Int64) -> Int? {
    guard rate > 0 else { return nil }
    let (seconds, rest) = elapsed.quotientAndRemainder(dividingBy: 1_000_000_000)
    return Int(seconds) * rate + Int(rest) * rate / 1_000_000_000 + 1
  }
}

enum EventProduction {
  /// While waiting for the next record, at most this long at a time: nothing is later than that.
  private static let tick = Duration.milliseconds(2)

  /// Generates `count` records, or without a count until the task is cancelled, and gives each to the sink.
  static func run(
    _ generator: EventGenerator, count: Int?, pacer: Pacer, sink: RecordSink
  ) async throws -> ProductionSummary {
    var summary = ProductionSummary()
    var record = GeneratedRecord()
    let clock = ContinuousClock()
    let start = clock.now
    while count.map({ summary.records < $0 }) ?? true, !Task.isCancelled {
      let due = pacer.due(after: (clock.now - start).nanoseconds) ?? .max
      guard summary.records < due else {
        try? await Task.sleep(for: tick)
        continue
      }
      generator.write(summary.records, into: &record)
      summary.count(record)
      try record.key.withUnsafeBytes { key in
        try record.value.withUnsafeBytes { value in try sink(key, value) }
      }
    }
    return summary
  }
}

extension Duration {
  /// Whole nanoseconds.
  var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }
}
