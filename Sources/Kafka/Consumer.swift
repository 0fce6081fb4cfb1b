import CRdKafka

/// A member of a consumer group, or, without `subscribe`, a plain reader of partitions.
///
/// One thread at a time: every method must be called by the thread that polls, but for `waker`, which any
/// thread may use. Between polls no more than `max.poll.interval.ms` may pass, or the group takes the
/// partitions away.
///
/// The broker keeps no progress for it: nothing is committed but by `commitAsync`, and no position is ever
/// chosen by default. A member's life:
///
///     consumer.subscribe → poll → .assigned → assign(positions) → poll → .record ...
///                                 .revoked  → write what is pending → unassign → poll → .assigned ...
public final class Consumer {
  let client: Client
  private let callbacks: ConsumerCallbacks
  private var topics = TopicTable()
  private var reminder = FetchReminder(isNeeded: !Client.hasFetchQueueBackoff)
  /// A reference to the queue that poll reads.
  private let queue: OpaquePointer
  /// Where fetching each assigned partition was started, by `assign` or `seek`.
  var starts: [TopicPartition: Int64] = [:]
  /// Partitions that librdkafka has given up, after `.offsetOutOfRange`.
  var stopped: Set<TopicPartition> = []
  var paused: Set<TopicPartition> = []
  /// Wakes a poll from any thread.
  public let waker: ConsumerWaker

  /// Bounds for a worker of some 200 MB, all of which the user's properties may change: at most 16 MiB of
  /// fetched records wait, and one response brings at most 8 MiB, which may be compressed. A small share for each
  /// partition keeps the partitions of a backlog near each other in time: repeats are then recognised from memory, and
  /// the keys go to neighbouring pages.
  static let defaults = [
    "queued.max.messages.kbytes": "16384",
    "queued.min.messages": "20000",
    "fetch.max.bytes": "8388608",
    "fetch.message.max.bytes": "524288",
    // Milliseconds that a broker may hold back an answer without records.
    "fetch.wait.max.ms": "100",
  ].merging(Client.hasFetchQueueBackoff ? ["fetch.queue.backoff.ms": "20"] : [:]) { $1 }

  /// - Parameters:
  ///   - brokers: `host:port`, separated by commas.
  ///   - group: the consumer group's id; needed by librdkafka even if `subscribe` is never called.
  ///   - properties: librdkafka's own settings; none of `KafkaProperties.ownedByWorker`.
  ///   - logger: where librdkafka's log lines go; nil drops them.
  public init(
    brokers: String, group: String, properties: KafkaProperties = KafkaProperties(),
    logger: KafkaLogger? = nil
  ) throws(KafkaError) {
    try properties.refuseOwned()
    let callbacks = ConsumerCallbacks(logger: logger)
    let configuration = try ClientConfiguration(
      properties.completed(
        defaults: Self.defaults,
        fixed: [
          "bootstrap.servers": brokers,
          "group.id": group,
          "enable.auto.commit": "false",
          "enable.auto.offset.store": "false",
          "auto.offset.reset": "error",
          "isolation.level": "read_committed",
          "partition.assignment.strategy": "range",
          "enable.partition.eof": "true",
        ]))
    configuration.withPointer { callbacks.connect(to: $0) }
    client = try Client(RD_KAFKA_CONSUMER, configuration: configuration, callbacks: callbacks)
    self.callbacks = callbacks
    rd_kafka_poll_set_consumer(client.handle)
    queue = rd_kafka_queue_get_consumer(client.handle)
    waker = ConsumerWaker(client: client.handle)
  }

  deinit { destroy() }

  /// Joins the group to share these topics' partitions; `poll` then tells `.assigned`. A topic that begins
  /// with `^` is a regular expression. A topic that does not exist yet is reported by `poll` as an error, and is
  /// taken up when it appears.
  public func subscribe(_ topics: [String]) throws(KafkaError) {
    let list = PartitionList(topics.map { TopicPartition(topic: $0, partition: -1) })
    try check(
      list.withPointer { rd_kafka_subscribe(client.handle, $0) },
      "subscribe to \(topics.joined(separator: ", "))")
  }

  /// Brings the next record or event. With `timeoutMs` 0 it never waits, so that a loop can drain what has
  /// been fetched.
  ///
  /// - Parameter onRecord: called for `.record` only, before poll returns, with a record that is valid
  ///   during the call. Must not call the consumer.
  public func poll(timeoutMs: Int32, onRecord: (borrowing Record) -> Void) -> PollResult {
    assert(!client.isDestroyed, "poll after close")
    if let event = callbacks.nextEvent() { return event }
    if timeoutMs != 0 { remindIfDry() }
    guard let message = rd_kafka_consumer_poll(client.handle, timeoutMs) else {
      remindIfDry()
      return callbacks.nextEvent() ?? .timeout
    }
    defer { rd_kafka_message_destroy(message) }
    guard message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR else { return failure(message) }
    let topicID = topics.id(of: message.pointee.rkt)
    onRecord(Record(message, topicID: topicID, topic: topics.names[topicID]))
    if reminder.delivered(valueBytes: message.pointee.len, now: { ContinuousClock.now }) {
      client.remindToFetch(starts.keys)
    }
    return .record
  }

  private func remindIfDry() {
    guard reminder.mayRunDry, rd_kafka_queue_length(queue) == 0 else { return }
    reminder.reminded(ContinuousClock.now)
    client.remindToFetch(starts.keys)
  }

  private func failure(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> PollResult {
    let source = message.pointee.rkt.map {
      TopicPartition(topic: String(cString: rd_kafka_topic_name($0)), partition: message.pointee.partition)
    }
    let offset = message.pointee.offset
    switch (message.pointee.err, source) {
    case (RD_KAFKA_RESP_ERR__PARTITION_EOF, let partition?):
      return .endOfPartition(partition, offset: offset)
    case (RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, let partition?):
      stopped.insert(partition)
      return .offsetOutOfRange(partition, offset: offset < 0 ? nil : offset)
    case (RD_KAFKA_RESP_ERR__FATAL, _):
      let operation = "go on consuming"
      return .fatal(
        client.fatalError(during: operation) ?? KafkaError(message.pointee.err, during: operation))
    default:
      let operation = source.map { "consume \($0)" } ?? "consume"
      let reason = rd_kafka_message_errstr(message).map { String(cString: $0) }
      return .error(KafkaError(message.pointee.err, during: operation, message: reason))
    }
  }

  // MARK: - Assignment

  /// Fetches these partitions from these offsets, and no others; the answer to `.assigned`, at any later
  /// time. None of them starts paused. `PartitionOffset.beginning` and `.end` are allowed.
  ///
  /// - Returns: false, with nothing done, when the group has changed the assignment again meanwhile: go on
  ///   polling, which will tell how.
  @discardableResult
  public func assign(_ positions: [PartitionOffset]) throws(KafkaError) -> Bool {
    guard !isRebalancing else { return false }
    // A pause outlives an assignment in librdkafka: a partition that comes back would stay silent.
    try resume(Array(paused))
    try start(positions)
    return true
  }

  /// Whether the group has taken the partitions away, or changed them without poll having told so yet.
  var isRebalancing: Bool { callbacks.isRevocationPending || callbacks.hasUnseenRebalance }

  /// Fetches these partitions and no others, whatever was fetched before.
  func start(_ positions: [PartitionOffset]) throws(KafkaError) {
    topics.forgetPointers()
    starts = Dictionary(positions.map { ($0.partition, $0.offset) }) { _, last in last }
    stopped.removeAll()
    let list = PartitionList(positions)
    try check(
      list.withPointer { rd_kafka_assign(client.handle, $0) }, "assign \(positions.count) partitions")
  }

  /// Lets go of all partitions; the answer to `.revoked`, and due soon: the other members wait for it.
  /// Does nothing when the group has given new partitions meanwhile.
  public func unassign() throws(KafkaError) {
    guard !callbacks.hasUnseenRebalance else { return }
    topics.forgetPointers()
    starts.removeAll()
    stopped.removeAll()
    callbacks.revocationEnded()
    try check(rd_kafka_assign(client.handle, nil), "unassign the partitions")
  }

  /// What is being fetched: nothing between `.assigned` and `assign`.
  public func assignment() throws(KafkaError) -> [TopicPartition] {
    var pointer: PartitionList.Pointer?
    try check(rd_kafka_assignment(client.handle, &pointer), "read the assignment")
    guard let pointer else { return [] }
    return PartitionList(taking: pointer).partitions.sorted()
  }

  // MARK: - End

  /// Leaves the group, so that its partitions go to other members at once, and frees everything. Safe in
  /// any state, also before the first assignment. Events not yet polled are dropped, so write and `unassign`
  /// first. The consumer is of no use afterwards.
  ///
  /// - Returns: false when the group could not be left within `timeoutMs`; the others then wait for
  ///   this member's session to time out.
  @discardableResult
  public func close(timeoutMs: Int32 = 10_000) -> Bool {
    guard !client.isDestroyed else { return true }
    let left = leaveGroup(timeoutMs: timeoutMs)
    destroy()
    return left
  }

  /// The references to the queue come first: librdkafka waits for them.
  private func destroy() {
    guard !client.isDestroyed else { return }
    waker.disconnect()
    rd_kafka_queue_destroy(queue)
    client.destroy()
  }

  private func leaveGroup(timeoutMs: Int32) -> Bool {
    // What the group has said so far is no part of the close, and is answered while there is somebody to hear it.
    for _ in 0..<rd_kafka_queue_length(queue) { serve(timeoutMs: 0) }
    callbacks.closingBegan()
    // The asynchronous close, because rd_kafka_consumer_close has no timeout. Its events come on the
    // consumer's own queue, where polling serves them as ever.
    if let error = rd_kafka_consumer_close_queue(client.handle, queue) {
      rd_kafka_error_destroy(error)  // fatal state: nothing to leave any more
      return true
    }
    let clock = ContinuousClock()
    let deadline = clock.now + .milliseconds(timeoutMs)
    while rd_kafka_consumer_closed(client.handle) == 0 {
      guard clock.now < deadline else { return false }
      serve(timeoutMs: 10)
    }
    return true
  }

  /// Runs the callbacks that are due, and drops a record.
  private func serve(timeoutMs: Int32) {
    if let message = rd_kafka_consumer_poll(client.handle, timeoutMs) { rd_kafka_message_destroy(message) }
  }
}
