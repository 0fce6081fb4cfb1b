import Logging
import Monitoring
import Store
import Telemetry

/// What a batch tells the metrics and the log once it is committed, part by part.
struct BatchReport {
  private var outcomes: [String: OutcomeCounts] = [:]
  private var consumed: [String: (records: Int, bytes: Int)] = [:]
  private var letters: [LetterKind: Int] = [:]
  /// Rows that the database refused, by SQLSTATE.
  private var refused: [String: Int] = [:]
  private var repairs = RepairCounts()
  private var stageSeconds: [BatchStage: Double] = [:]
  private var eventTimes: [Int64] = []

  private struct LetterKind: Hashable {
    var topic: String
    var reason: String
  }

  /// Adds a part that is written.
  mutating func add(_ part: IngestBatch, _ summary: BatchSummary, seconds: Double) {
    for (index, partition) in part.events.partitions.enumerated() {
      let counts = index < part.counts.count ? part.counts[index] : IngestBatch.Counts()
      outcomes[partition.topic, default: OutcomeCounts()].add(
        OutcomeCounts(
          stored: summary.stored[index], duplicate: summary.duplicates[index] + counts.repeated,
          skipped: counts.skipped))
      consumed[partition.topic, default: (0, 0)].records += counts.records
      consumed[partition.topic, default: (0, 0)].bytes += counts.valueBytes
    }
    for letter in part.events.deadLetters + summary.lateDeadLetters {
      outcomes[letter.topic, default: OutcomeCounts()].deadLetter += 1
      letters[LetterKind(topic: letter.topic, reason: letter.reason.rawValue), default: 0] += 1
    }
    refused.merge(summary.refused, uniquingKeysWith: +)
    repairs.add(part.events.repairs)
    stageSeconds[.copy, default: 0] += summary.copySeconds
    stageSeconds[.commit, default: 0] += summary.commitSeconds
    stageSeconds[.total, default: 0] += seconds
    eventTimes += summary.eventTimes
  }

  /// To be called once the COMMIT is acknowledged.
  func emit(to observer: Observer) {
    let consumed = consumed.filter { $0.value.records > 0 }
    observer.emit(
      IngestEvent.batchCommitted(
        CommittedBatch(
          outcomes: outcomes.filter { $0.value.all > 0 }, bytes: consumed.reduce(0) { $0 + $1.value.bytes },
          stageSeconds: stageSeconds, eventTimes: eventTimes, committedAt: WallClock.now())))
    for (topic, counts) in consumed {
      observer.emit(ConsumerEvent.consumed(topic: topic, records: counts.records, bytes: counts.bytes))
    }
    for (kind, count) in letters {
      observer.emit(
        IngestEvent.deadLetters(topic: kind.topic, reason: kind.reason, count: count, sample: nil))
    }
    for (state, count) in refused {
      observer.emit(
        DatabaseEvent.failed(
          sqlstate: state, action: .deadLetter, doing: "copy into chat_telemetry",
          message: "\(count) rows were refused for their data", retryInSeconds: nil))
    }
    for kind in RepairKind.allCases where repairs[kind] > 0 {
      observer.emit(IngestEvent.repairs(kind: kind.rawValue, count: repairs[kind]))
    }
  }
}

extension Logger {
  /// A line of librdkafka's own.
  func logKafka(_ level: Int32, _ facility: String, _ text: String) {
    log(level: .init(syslog: level), "librdkafka: \(text)", metadata: ["facility": "\(facility)"])
  }
}

extension Logger.Level {
  /// From syslog's levels, 0 emergency to 7 debug, as librdkafka gives them.
  init(syslog level: Int32) {
    switch level {
    case ...2: self = .critical
    case 3: self = .error
    case 4: self = .warning
    case 5: self = .notice
    case 6: self = .info
    default: self = .debug
    }
  }
}
