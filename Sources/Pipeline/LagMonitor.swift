import Kafka
import Monitoring
import Synchronization
import Threads

/// The ends of the partitions that the loop holds, as the brokers told them last. The loop says what it holds and reads
/// the ends; the monitor asks for them.
final class PartitionEnds: Sendable {
  /// Nil where no broker has answered yet.
  private let ends = Mutex<[TopicPartition: KnownEnd?]>([:])

  /// Watches these partitions and no others. The end of one that was watched before stays known.
  func watch(_ partitions: [TopicPartition]) {
    ends.withLock { ends in
      let known = ends
      ends = Dictionary(partitions.map { ($0, known[$0] ?? nil) }) { first, _ in first }
    }
  }

  var watched: [TopicPartition] { ends.withLock { $0.keys.sorted() } }

  /// An answer for a partition that is not watched any more is dropped.
  func learn(_ end: KnownEnd, of partition: TopicPartition) {
    ends.withLock { if $0[partition] != nil { $0[partition] = .some(end) } }
  }

  subscript(partition: TopicPartition) -> KnownEnd? { ends.withLock { $0[partition] ?? nil } }
}

/// Asks the brokers for the ends of the partitions every few seconds, as long as its task is not cancelled.
///
/// What a consumer knows of the end comes with the records it fetches, and stands still while partitions are paused or
/// fetching stalls: just when the lag matters. So the monitor has a client of its own, which joins no group, on a thread
/// of its own: a broker that does not answer keeps nobody else waiting. An error leaves the end as it was.
actor LagMonitor {
  private let executor = ThreadExecutor(name: "lag-monitor")
  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  private let settings: IngestSettings
  private let ends: PartitionEnds
  private var client: Consumer?

  private static let pace = Duration.seconds(2)
  /// For each question, in milliseconds; a stop waits for the one that is being asked.
  private static let timeoutMs: Int32 = 1_000

  init(settings: IngestSettings, ends: PartitionEnds) {
    self.settings = settings
    self.ends = ends
  }

  func run() async {
    while !Task.isCancelled {
      ask(ends.watched)
      serveClient()
      try? await Task.sleep(for: Self.pace)
    }
    client?.close(timeoutMs: Self.timeoutMs)
    client = nil
  }

  /// Asks for all at once, and for each by itself where a broker does not answer: the others' ends stay known.
  private func ask(_ partitions: [TopicPartition]) {
    guard !partitions.isEmpty, (try? learn(partitions)) == nil else { return }
    for partition in partitions where !Task.isCancelled { try? learn([partition]) }
  }

  private func learn(_ partitions: [TopicPartition]) throws(KafkaError) {
    let client = try connected()
    // Before the question: what is produced meanwhile is younger.
    let askedAtMs = WallClock.now() / 1_000
    for end in try client.ends(of: partitions, timeoutMs: Self.timeoutMs) {
      ends.learn(KnownEnd(offset: end.offset, askedAtMs: askedAtMs), of: end.partition)
    }
  }

  private func connected() throws(KafkaError) -> Consumer {
    if let client { return client }
    // Without a logger: the loop's client says the same of the same brokers.
    let made = try Consumer(
      brokers: settings.brokers, group: settings.group, properties: settings.properties)
    client = made
    return made
  }

  /// Errors and statistics wait until somebody polls, and OAuth tokens are renewed then.
  private func serveClient() {
    guard let client else { return }
    while client.poll(timeoutMs: 0, onRecord: { _ in }) != .timeout {}
  }
}
