import Kafka
import Monitoring
import Store
import Telemetry
import Threads

/// Rebalances, positions and the end: how the loop comes to own partitions and how it lets go of them.
extension IngestLoop {
  private static let loadingRetries = RetryPolicy(firstMs: 200, longestMs: 5_000)
  /// Milliseconds for what is in hand to be written when the group takes partitions back. The new owner waits for it.
  private static let revocationDeadlineMs: Int64 = 5_000

  // MARK: Coming to own partitions

  func assigned(_ partitions: [TopicPartition]) throws {
    discardBatch(why: "the group gave partitions anew")
    assignment.own(partitions)
    ends.watch(partitions)
    observer.emit(ConsumerEvent.assigned(partitions.map(\.label)))
    if partitions.isEmpty {
      try consumer.assign([])
      health.report("kafka", .ok)
    }
    // Without partitions too: it is how a member that has none finds out whether the database answers.
    requestPositions()
  }

  /// A replay's partitions, which no group gives or takes.
  func own(_ partitions: [TopicPartition]) {
    assignment.own(partitions)
    requestPositions()
  }

  /// Somebody else moved the positions: reads them anew and goes on from there.
  func reloadPositions(why: String) throws {
    discardBatch(why: why)
    try consumer.assign([])
    assignment.beginLoading()
    if !assignment.partitions.isEmpty { requestPositions() }
  }

  func loadPositionsIfDue() throws {
    guard case .retrying(let atMs) = assignment.state, SteadyClock.nowMs() >= atMs else { return }
    // A number of its own, so that this is asked once, and one answer is obeyed.
    assignment.beginLoading()
    requestPositions()
  }

  private func requestPositions() {
    let topics = ownedTopics
    ask { writer in try await writer.loadPositions(topics: topics) }
  }

  /// The topics as the group names them, whatever pattern was subscribed to.
  private var ownedTopics: [String] { Set(assignment.partitions.map(\.topic)).sorted() }

  /// Has the writer find out the positions for the present assignment. Only the last question matters, and it waits
  /// for the batch that is being written: what was read before that one's COMMIT would be out of date.
  private func ask(
    _ question: @escaping @Sendable (BatchWriter) async throws -> [TopicPartitionName: StoredPosition]?
  ) {
    loading?.cancel()
    loading = Task(executorPreference: writer.executor) {
      [writer, mailbox, inFlight, waker = consumer.waker, number = assignment.number] in
      await inFlight?.value
      let answer: Result<[TopicPartitionName: StoredPosition]?, any Error>
      do { answer = .success(try await question(writer)) } catch { answer = .failure(error) }
      mailbox.put(.positions(answer, assignment: number))
      waker.wake()
    }
  }

  /// Completes the positions where there are none yet, or begins to fetch.
  func positionsLoaded(_ stored: [TopicPartitionName: StoredPosition]) throws {
    guard !assignment.partitions.isEmpty else { return }
    let finder = StartPositions(consumer: consumer, start: settings.start, ends: replay?.ends ?? [:])
    do {
      let clusterID = try consumer.clusterID(timeoutMs: finder.timeoutMs)
      try finder.refuseOtherCluster(stored, clusterID: clusterID)
      // A replay's were entered with its job.
      let starts = replay == nil ? try finder.missing(owned: assignment.partitions, stored: stored) : [:]
      if !starts.isEmpty { return insert(starts, clusterID: clusterID) }
      let progress = try finder.resume(owned: assignment.partitions, stored: stored)
      try begin(progress)
    } catch let error as KafkaError {
      retryLoading(after: error)
    } catch let error as PositionError {
      if case .beyondEnd(let partition, let position, let end) = error {
        observer.emit(ConsumerEvent.positionBeyondEnd(partition.label, position: position, end: end))
      }
      throw error
    }
  }

  /// The brokers gave no answer: asks again after a while.
  private func retryLoading(after error: KafkaError) {
    let delay = Self.loadingRetries.delayMs(failures: assignment.failures + 1, random: .random(in: 0..<1))
    observer.emit(ConsumerEvent.clientError(code: error.name, message: error.description))
    health.report("kafka", .notReady(error.description))
    assignment.retryLoading(atMs: SteadyClock.nowMs() + delay)
  }

  private func insert(_ starts: [TopicPartitionName: Int64], clusterID: String?) {
    let topics = ownedTopics
    ask { writer in try await writer.insertStarts(starts, clusterID: clusterID, topics: topics) }
  }

  private func begin(_ progress: [PartitionProgress]) throws {
    let offsets = progress.filter { !$0.isRead }.map { PartitionOffset($0.partition, offset: $0.next) }
    // False when the group has changed its mind meanwhile; polling will tell.
    guard try consumer.assign(offsets) else { return }
    for each in progress where each.hasMoved {
      observer.emit(ConsumerEvent.offsetGap(each.partition.label, from: each.stored, to: each.next))
    }
    assignment.activate(progress)
    silenced = Set(assignment.read)
    health.report("kafka", .ok)
  }

  /// The broker has nothing at a partition's position: retention was faster, or the topic was made anew.
  func outOfRange(_ partition: TopicPartition) throws {
    guard let position = assignment.next(of: partition) else { return }
    do {
      try goOn(partition, from: position)
    } catch let error as KafkaError {
      // Everything is read again from the stored positions once the brokers answer.
      discardBatch(why: "the brokers did not say where \(partition) goes on")
      try consumer.assign([])
      assignment.beginLoading()
      retryLoading(after: error)
    }
  }

  /// - Throws: `KafkaError`, `PositionError`.
  private func goOn(_ partition: TopicPartition, from position: Int64) throws {
    let watermarks = try consumer.watermarks(of: partition, timeoutMs: 5_000)
    if let end = replay?.ends[partition], end > watermarks.high {
      throw PositionError.endIsGone(partition: partition, end: end, found: watermarks.high)
    }
    guard position <= watermarks.high else {
      observer.emit(
        ConsumerEvent.positionBeyondEnd(partition.label, position: position, end: watermarks.high))
      throw PositionError.beyondEnd(partition: partition, position: position, end: watermarks.high)
    }
    if let gap = assignment.skipGap(of: partition, to: watermarks.low), gap.missing > 0 {
      observer.emit(ConsumerEvent.offsetGap(partition.label, from: gap.from, to: watermarks.low))
    }
    try consumer.seek([PartitionOffset(partition, offset: max(position, watermarks.low))])
  }

  // MARK: Letting go

  func revoked(_ partitions: [TopicPartition], lost: Bool) throws {
    // What was lost may have a new owner already, who reads it again.
    if !lost { try writeWhatIsInHand(deadlineMs: SteadyClock.nowMs() + Self.revocationDeadlineMs) }
    inFlight?.cancel()
    loading?.cancel()
    discardBatch(why: "the group took the partitions back")
    assignment.release()
    ends.watch([])
    observer.emit(ConsumerEvent.revoked(partitions.map(\.label), lost: lost))
    health.report("kafka", .notReady("waiting for the group to give partitions"))
    try consumer.unassign()
  }

  /// Writes what was read, as far as the database allows within the time; the group waits meanwhile.
  private func writeWhatIsInHand(deadlineMs: Int64) throws {
    while SteadyClock.nowMs() < deadlineMs {
      if inFlight == nil {
        guard assignment.hasMoved || begun != nil else { return }
        handOver(ending: true)
      }
      mailbox.wait(upTo: .milliseconds(max(1, deadlineMs - SteadyClock.nowMs())))
      for message in mailbox.takeAll() { try handle(message) }
    }
  }

  /// The end: writes and commits what is in hand, then leaves the group.
  func drain() throws {
    health.report("kafka", .notReady("stopping"))
    // The group's leave and the process's own end need some of the time.
    let limitMs = Int64(settings.shutdownDeadlineSeconds) * 1_000
    try writeWhatIsInHand(deadlineMs: SteadyClock.nowMs() + limitMs * 7 / 10)
    inFlight?.cancel()
    guard replay == nil else { return }
    observer.emit(ConsumerEvent.revoked(assignment.partitions.map(\.label), lost: false))
    try consumer.unassign()
  }
}

extension TopicPartition {
  var label: PartitionLabel { PartitionLabel(topic: topic, partition: partition) }
}
