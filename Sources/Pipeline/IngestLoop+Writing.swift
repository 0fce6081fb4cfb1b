import Kafka
import Monitoring
import Store
import Telemetry
import Threads

/// Handing parts of batches to the writer, and what comes of it.
extension IngestLoop {
  /// Once a row needs its record's bytes again, others are likely to.
  private static let partsWithSourcesAfterNeed = 1_000
  /// Bytes by which the last row may exceed the bound of a part.
  private static let rowsBeyondBound = 1 << 20

  // MARK: Handing over

  /// Sends the part to the writer, which must be idle, and goes on with an empty one.
  ///
  /// - Parameter ending: Whether it is the last of its batch, whatever waits.
  func handOver(ending: Bool = false) {
    assert(inFlight == nil, "one part at a time is written")
    let handed = batch
    let isFirst = begun == nil
    var progress = begun ?? BatchProgress(sinceMs: SteadyClock.nowMs())
    progress.add(assignment.handOver(heldFrom: intake.firstHeld), of: handed)
    let isLast = ending || !goesOn(progress)
    handed.part = BatchPart(
      advances: progress.advances,
      others: isFirst && !isLast ? assignment.others(than: progress.advances) : [],
      isFirst: isFirst, isLast: isLast)
    // One of the two, or the report would be copied whenever it grows.
    if isLast { handed.progress = progress }
    handed.assignment = assignment.number
    begun = isLast ? nil : progress
    partsWithSources = max(0, partsWithSources - 1)
    batch = spare ?? IngestBatch()
    spare = nil
    prepareBatch()
    batchSinceMs = nil
    inFlightSize = (progress.records, handed.events.byteCount)
    write(handed)
    let heldBefore = intake.held.count
    intake.takeHeld(into: batch, nowMicros: WallClock.now())
    if intake.held.count < heldBefore { batchSinceMs = SteadyClock.nowMs() }
    reportBuffer()
  }

  private func write(_ handed: IngestBatch) {
    inFlight = Task(executorPreference: writer.executor) {
      [writer, mailbox, givingUp, waker = consumer.waker] in
      await givingUp?.value
      let clock = ContinuousClock()
      let began = clock.now
      let result: Result<BatchWriter.Outcome, any Error>
      do { result = .success(try await writer.write(handed)) } catch { result = .failure(error) }
      mailbox.put(.written(handed, result, seconds: (clock.now - began).inSeconds))
      waker.wake()
    }
  }

  /// Whether another part of the batch follows the one that is handed over.
  private func goesOn(_ progress: BatchProgress) -> Bool {
    // Held records are of days that are too many; a late dead letter needs the bytes of its record.
    guard
      isFull && intake.held.isEmpty && !batch.events.keepsSources && !isStopping
        && progress.parts < growth.parts
    else { return false }
    return limits.goesOn(
      progress.size(nowMs: SteadyClock.nowMs()), lastPart: batch.records, recordsBehind: recordsBehind())
  }

  /// Makes the empty part ready for records.
  func prepareBatch() {
    batch.events.keepsSources = partsWithSources > 0
    batch.maxDays = BatchLimits.maxDays - (begun?.days.count ?? 0)
    // At once: growing on the way would copy, and take twice the memory for a while.
    batch.events.rows.reserve(limits.bytes + Self.rowsBeyondBound)
  }

  /// Forgets what was read and not committed: it will be read again.
  func discardBatch(why: String) {
    if batch.records > 0 || begun != nil {
      observer.emit(IngestEvent.batchDiscarded(records: batch.records + (begun?.records ?? 0), why: why))
    }
    if begun != nil { giveUp() }
    begun = nil
    batch.removeAll()
    prepareBatch()
    intake.dropHeld()
    batchSinceMs = nil
    isPaused = false
    fullSinceMs = nil
    reportBuffer()
  }

  /// Has the parts rolled back that the writer has stored, or is storing: others may wait for what they lock.
  private func giveUp() {
    givingUp = Task(executorPreference: writer.executor) { [writer, inFlight] in
      await inFlight?.value
      await writer.giveUp()
    }
  }

  // MARK: What came of it

  func settle(_ written: IngestBatch, _ outcome: BatchWriter.Outcome, seconds: Double) throws {
    let isCurrent = written.assignment == assignment.number
    switch outcome {
    case .written(.committed(let summary)):
      growth.committed(nowMs: SteadyClock.nowMs())
      written.progress.report.add(written, summary, seconds: seconds)
      written.progress.report.emit(to: observer)
      if let replay { reportPassed(written.part.advances, replay.job) }
      if isCurrent { acknowledge(written.part.advances) }
    case .written(.appended(let summary)):
      guard isCurrent else { return }
      begun?.appended(written, summary, seconds: seconds)
      // The batch ends soon, whether or not more comes.
      if batchSinceMs == nil { batchSinceMs = SteadyClock.nowMs() }
    case .written(.alreadyCommitted):
      if isCurrent { acknowledge(written.part.advances) }
    case .written(.fenced):
      try readAgain(written, why: "the positions were moved by another worker")
    case .written(.recordsNeeded):
      partsWithSources = Self.partsWithSourcesAfterNeed
      try readAgain(written, why: "some become dead letters: they are read again with their bytes")
    case .written(.partsLost):
      growth.lost(nowMs: SteadyClock.nowMs())
      try readAgain(written, why: "the transaction failed: it is read again from the last COMMIT")
    case .abandoned:
      try readAgain(written, why: "the database failed and time was up")
    }
  }

  /// Nothing of the batch is stored.
  private func readAgain(_ written: IngestBatch, why: String) throws {
    let progress = written.part.isLast ? written.progress : begun
    observer.emit(IngestEvent.batchDiscarded(records: progress?.records ?? written.records, why: why))
    guard written.assignment == assignment.number else { return }
    begun = nil
    if !isStopping { try reloadPositions(why: why) }
  }

  private func reportPassed(_ advances: [PositionAdvance], _ job: String) {
    let records = advances.reduce(0) { $0 + $1.passed.outOfRange }
    if records > 0 { observer.emit(RefreshEvent.backfillPassed(job: job, outOfRange: records)) }
  }

  private func acknowledge(_ advances: [PositionAdvance]) {
    assignment.acknowledge(advances)
    if let replay { return replay.progress.committed(advances) }
    let offsets = advances.map {
      PartitionOffset(
        TopicPartition(topic: $0.partition.topic, partition: $0.partition.partition), offset: $0.to)
    }
    do throws(KafkaError) {
      // For other tools' sake; the truth is in Postgres.
      try consumer.commitAsync(offsets)
    } catch {
      observer.emit(ConsumerEvent.clientError(code: error.name, message: error.description))
    }
  }

  /// Shows what is read and not committed yet.
  func reportBuffer() {
    let handed = max(inFlightSize.events, begun?.records ?? 0)
    observer.emit(
      IngestEvent.buffered(
        events: handed + batch.records + intake.held.count,
        bytes: inFlightSize.bytes + batch.events.byteCount))
  }
}
