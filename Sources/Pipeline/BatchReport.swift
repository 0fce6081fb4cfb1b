import Logging
import Monitoring
import Store
import Telemetry

/// What a committed batch tells the metrics and the log.
struct BatchReport {
  private let batch: IngestBatch
  private let summary: BatchSummary
  private let seconds: Double

  init(_ batch: IngestBatch, _ summary: BatchSummary, seconds: Double) {
    self.batch = batch
    self.summary = summary
    self.seconds = seconds
  }

  func emit(to observer: Observer) {
    observer.emit(
      IngestEvent.batchCommitted(
        CommittedBatch(
          outcomes: outcomes(), bytes: batch.counts.reduce(0) { $0 + $1.valueBytes },
          stageSeconds: [.copy: summary.copySeconds, .commit: summary.commitSeconds, .total: seconds],
          eventTimes: summary.eventTimes, committedAt: WallClock.now())))
    for (topic, counts) in consumed() {
      observer.emit(ConsumerEvent.consumed(topic: topic, records: counts.records, bytes: counts.bytes))
    }
    let letters = Dictionary(grouping: batch.events.deadLetters + summary.lateDeadLetters) {
      LetterKind(topic: $0.topic, reason: $0.reason.rawValue)
    }
    for (kind, letters) in letters {
      observer.emit(
        IngestEvent.deadLetters(topic: kind.topic, reason: kind.reason, count: letters.count, sample: nil))
    }
    for (state, count) in summary.refused {
      observer.emit(
        DatabaseEvent.failed(
          sqlstate: state, action: .deadLetter, doing: "copy into chat_telemetry",
          message: "\(count) rows were refused for their data", retryInSeconds: nil))
    }
    for kind in RepairKind.allCases where batch.events.repairs[kind] > 0 {
      observer.emit(IngestEvent.repairs(kind: kind.rawValue, count: batch.events.repairs[kind]))
    }
  }

  private struct LetterKind: Hashable {
    var topic: String
    var reason: String
  }

  private func outcomes() -> [String: OutcomeCounts] {
    var outcomes: [String: OutcomeCounts] = [:]
    for (index, partition) in batch.events.partitions.enumerated() {
      let counts = index < batch.counts.count ? batch.counts[index] : IngestBatch.Counts()
      outcomes[partition.topic, default: OutcomeCounts()].add(
        OutcomeCounts(
          stored: summary.stored[index], duplicate: summary.duplicates[index] + counts.repeated,
          skipped: counts.skipped))
    }
    for letter in batch.events.deadLetters + summary.lateDeadLetters {
      outcomes[letter.topic, default: OutcomeCounts()].deadLetter += 1
    }
    return outcomes.filter { $0.value.all > 0 }
  }

  /// Records read and the bytes of their values, by topic.
  private func consumed() -> [String: (records: Int, bytes: Int)] {
    var consumed: [String: (records: Int, bytes: Int)] = [:]
    for (partition, counts) in zip(batch.events.partitions, batch.counts) where counts.records > 0 {
      consumed[partition.topic, default: (0, 0)].records += counts.records
      consumed[partition.topic, default: (0, 0)].bytes += counts.valueBytes
    }
    return consumed
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
