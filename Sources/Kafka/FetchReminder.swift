import CRdKafka

/// Decides when librdkafka before 2.2 must be reminded to fetch.
///
/// Those versions stop fetching when enough records wait, and look again only when something wakes their
/// broker thread, at worst a second later (rdkafka_broker.c, `rd_kafka_broker_consumer_serve`). A consumer that
/// empties the queue faster then idles: reading 300,000 records of 400 bytes with 5 µs of work each waited 4 to
/// 7 s for nothing, and with reminders 0.3 s. Any request to the broker wakes its thread. Later versions have
/// `fetch.queue.backoff.ms` for this.
struct FetchReminder {
  /// Less than this was delivered since the last reminder: the queue cannot have gone from full to empty.
  static let minBytes = 256 * 1024
  /// While records are waiting, more often is of no use.
  static let minInterval = Duration.milliseconds(50)
  /// What a record occupies besides its value, roughly.
  static let recordOverheadBytes = 100

  private let isNeeded: Bool
  private var bytes = 0
  private var bytesToLook = Self.minBytes
  private var last: ContinuousClock.Instant?

  init(isNeeded: Bool) {
    self.isNeeded = isNeeded
  }

  /// Counts a record.
  /// - Returns: whether to remind now, which counts as done.
  mutating func delivered(valueBytes: Int, now: () -> ContinuousClock.Instant) -> Bool {
    bytes += valueBytes + Self.recordOverheadBytes
    guard isNeeded, bytes >= bytesToLook else { return false }
    bytesToLook = bytes + Self.minBytes
    let now = now()
    if let last, now - last < Self.minInterval { return false }
    reminded(now)
    return true
  }

  /// Whether enough was delivered that an empty queue is worth a reminder, however recent the last one.
  var mayRunDry: Bool { isNeeded && bytes >= Self.minBytes }

  mutating func reminded(_ now: ContinuousClock.Instant) {
    last = now
    bytes = 0
    bytesToLook = Self.minBytes
  }
}

extension Client {
  /// Whether this librdkafka has `fetch.queue.backoff.ms` (2.2.0).
  static let hasFetchQueueBackoff = rd_kafka_version() >= 0x0202_0000

  /// Wakes the threads of the brokers that lead these partitions by asking for their end offsets. With no
  /// time to wait, librdkafka only sends the requests, and drops the answers.
  func remindToFetch(_ partitions: some Sequence<TopicPartition>) {
    let list = PartitionList(partitions.map { PartitionOffset($0, offset: PartitionOffset.end) })
    _ = list.withPointer { rd_kafka_offsets_for_times(handle, $0, 0) }
  }
}
