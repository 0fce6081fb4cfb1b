import Kafka
import Logging
import Monitoring
import Store
import Telemetry
import Threads

/// What other threads tell the loop.
enum LoopMessage: Sendable {
  case stop
  /// A batch came back from the writer.
  case written(IngestBatch, Result<BatchWriter.Outcome, any Error>, seconds: Double)
  /// The stored positions, for the assignment of that number; nil when the reading was cancelled.
  case positions(Result<[TopicPartitionName: StoredPosition]?, any Error>, assignment: Int)
}

/// Polls records into a batch, hands batches to the writer and follows the group's rebalances. A replay's partitions
/// are its own from the start, and it ends by itself.
///
/// Everything here happens on one thread, which polls; the database is on another one, so that a slow database never
/// keeps this one from polling and never costs the membership.
final class IngestLoop {
  let settings: IngestSettings
  let observer: Observer
  let health: HealthState
  let consumer: Consumer
  let writer: BatchWriter
  let mailbox: Mailbox<LoopMessage>
  let ends: PartitionEnds
  /// Nil for a live worker.
  let replay: ReplayPart?
  let limits: BatchLimits

  var intake: RecordIntake
  /// The part that is being filled.
  var batch = IngestBatch()
  var spare: IngestBatch? = IngestBatch()
  /// When the part being filled got its first record or position move, or the one before it was written.
  var batchSinceMs: Int64?
  /// The batch that the part being filled belongs to, if others have been handed over before it.
  var begun: BatchProgress?
  var inFlight: Task<Void, Never>?
  /// The events of the batch up to the part with the writer, and the bytes of that part; nothing while there is none.
  var inFlightSize = (events: 0, bytes: 0)
  /// The reading of the positions that is under way.
  var loading: Task<Void, Never>?
  /// The rolling back of a batch whose other parts will not come.
  var givingUp: Task<Void, Never>?
  var growth = BatchGrowth()

  var assignment = Assignment()
  var isPaused = false
  /// Partitions that a replay has read to their ends and does not fetch any more.
  var silenced: Set<TopicPartition> = []
  /// Since when the part has been full while the writer was busy.
  var fullSinceMs: Int64?
  var isStopping = false
  /// Parts, from the current one on, that keep the records' bytes beside the rows.
  var partsWithSources = 0
  private var progressReport: ProgressReport

  /// A full batch waits this long for the writer before the partitions are paused: pausing throws fetched records away.
  private static let pauseAfterMs: Int64 = 1_000
  /// Polls between looks at the clock and the mailbox.
  private static let pollsPerRound = 1_000
  /// Nothing wakes a poll when a stop is asked for, or a reading of the positions is due.
  private static let longestPollMs: Int32 = 100

  init(
    settings: IngestSettings, observer: Observer, health: HealthState, mailbox: Mailbox<LoopMessage>,
    ends: PartitionEnds
  ) throws {
    self.settings = settings
    self.observer = observer
    self.health = health
    self.mailbox = mailbox
    self.ends = ends
    replay = settings.replay
    progressReport = ProgressReport(observer: observer, ends: ends)
    limits = BatchLimits(
      events: settings.batchEvents, bytes: settings.batchBytes, flushMs: Int64(settings.flushMs))
    intake = RecordIntake(rules: settings.rules, times: replay?.times ?? .all)
    writer = BatchWriter(
      settings: settings.database, deadLetters: settings.deadLetterTopicSettings, observer: observer,
      health: health)
    let logger = observer.logger
    consumer = try Consumer(
      brokers: settings.brokers, group: settings.group, properties: settings.properties,
      logger: { logger.logKafka($0, $1, $2) })
    prepareBatch()
  }

  /// The whole life of the consumer.
  func run() throws {
    defer {
      inFlight?.cancel()
      loading?.cancel()
      consumer.close(timeoutMs: 2_000)
    }
    if let replay { own(replay.partitions) } else { try consumer.subscribe(settings.topics) }
    while true {
      for message in mailbox.takeAll() { try handle(message) }
      if isStopping { return try drain() }
      if replay != nil && assignment.isDone { return }
      try loadPositionsIfDue()
      handOverIfDue()
      try pollRound()
      if progressReport.makeIfDue(assignment.progress) { reportBuffer() }
    }
  }

  // MARK: Polling

  var isFull: Bool {
    !intake.held.isEmpty
      || limits.isFull(
        events: batch.records, before: begun?.records ?? 0, bytes: batch.events.byteCount)
  }

  /// Takes what has been fetched, or waits for something to happen.
  private func pollRound() throws {
    guard !isFull else { return try waitForWriter() }
    fullSinceMs = nil
    try resumeIfPaused()
    guard let pace = replay?.pace else {
      _ = try pollRecords(upTo: Self.pollsPerRound)
      return try stopReading()
    }
    let granted = pace.take(Self.pollsPerRound)
    if granted == 0 { return mailbox.wait(upTo: .milliseconds(min(pace.waitMs, Int64(Self.longestPollMs)))) }
    pace.giveBack(granted - (try pollRecords(upTo: granted)))
    try stopReading()
  }

  /// Returns how many records came.
  private func pollRecords(upTo limit: Int) throws -> Int {
    var timeoutMs = pollTimeoutMs
    let nowMicros = WallClock.now()
    var records = 0
    while records < limit {
      let result = consumer.poll(timeoutMs: timeoutMs) { take($0, nowMicros) }
      timeoutMs = 0
      if result == .record {
        records += 1
        if isFull { return records }
        continue
      }
      if result == .timeout { return records }
      try handle(result)
    }
    return records
  }

  /// Fetches no more of what a replay has read to its end.
  private func stopReading() throws {
    guard replay != nil else { return }
    let read = assignment.read.filter { !silenced.contains($0) }
    if !read.isEmpty { try consumer.pause(read) }
    silenced.formUnion(read)
    // Behind the last record may be a hole, or nothing at all: the move alone makes a batch.
    if batchSinceMs == nil && assignment.hasMoved { batchSinceMs = SteadyClock.nowMs() }
  }

  private var pollTimeoutMs: Int32 {
    if case .wait(let ms?) = decision { return min(Int32(clamping: ms), Self.longestPollMs) }
    return Self.longestPollMs
  }

  private var decision: BatchLimits.Decision {
    limits.decide(
      events: batch.records, isFull: isFull,
      ageMs: batchSinceMs.map { SteadyClock.nowMs() - $0 }, writerIsIdle: inFlight == nil,
      recordsBehind: recordsBehind)
  }

  /// By what the last fetch said.
  func recordsBehind() -> Int64 {
    assignment.progress.reduce(0) { sum, each in
      sum + max(0, min(consumer.cachedWatermarks(of: each.partition)?.high ?? 0, each.end) - each.next)
    }
  }

  private func take(_ record: borrowing Record, _ nowMicros: Int64) {
    guard
      assignment.take(
        topic: record.topic, partition: record.partition, offset: record.offset,
        timestampMs: record.timestampMs)
    else { return }
    if batchSinceMs == nil { batchSinceMs = SteadyClock.nowMs() }
    intake.take(record, into: batch, nowMicros: nowMicros)
  }

  /// The batch is full and another one is being written: waits, and pauses the partitions if it takes long, for polling
  /// must go on.
  private func waitForWriter() throws {
    let nowMs = SteadyClock.nowMs()
    // The writer need not do it then.
    if fullSinceMs == nil { batch.events.sortRows() }
    let since = fullSinceMs ?? nowMs
    fullSinceMs = since
    guard nowMs - since >= Self.pauseAfterMs else {
      return mailbox.wait(upTo: .milliseconds(Self.pauseAfterMs - (nowMs - since)))
    }
    if !isPaused {
      try consumer.pause(assignment.partitions)
      isPaused = true
    }
    let result = consumer.poll(timeoutMs: Self.longestPollMs) { take($0, WallClock.now()) }
    if result != .timeout && result != .record { try handle(result) }
  }

  private func resumeIfPaused() throws {
    guard isPaused else { return }
    try consumer.resume(assignment.unread)
    isPaused = false
  }

  private func handle(_ result: PollResult) throws {
    switch result {
    case .timeout, .record, .statistics: break
    case .endOfPartition(let partition, let offset):
      assignment.reachedEnd(of: partition, at: offset)
      if batchSinceMs == nil && assignment.hasMoved { batchSinceMs = SteadyClock.nowMs() }
    case .assigned(let partitions): try assigned(partitions)
    case .revoked(let partitions, let lost): try revoked(partitions, lost: lost)
    case .offsetOutOfRange(let partition, _): try outOfRange(partition)
    case .commitFailed(_, let error), .error(let error):
      observer.emit(ConsumerEvent.clientError(code: error.name, message: error.description))
    case .fatal(let error): throw error
    }
  }

  private func handOverIfDue() {
    if decision == .handOver { handOver() }
  }

  // MARK: Messages

  func handle(_ message: LoopMessage) throws {
    switch message {
    case .stop: isStopping = true
    case .positions(let answer, let number):
      guard number == assignment.number, let stored = try answer.get() else { return }
      try positionsLoaded(stored)
    case .written(let written, let result, let seconds):
      inFlight = nil
      inFlightSize = (0, 0)
      try settle(written, result.get(), seconds: seconds)
      written.removeAll()
      spare = written
      reportBuffer()
    }
  }
}
