import Kafka
import Monitoring
import Store
import Synchronization
import Telemetry

/// What one loop of a backfill reads: partitions of its own, each up to a fixed end, without a group.
struct ReplayPart: Sendable {
  /// The job's name, for the metrics.
  var job: String
  /// The first offset of each partition that is not read any more.
  var ends: [TopicPartition: Int64]
  var times: RecordTimeRange
  var progress: ReplayProgress
  /// Nil is as fast as it goes.
  var pace: SharedPace?

  var partitions: [TopicPartition] { ends.keys.sorted() }
}

/// Kafka's timestamps that a backfill replays, in milliseconds since the Unix epoch; nil is no limit.
struct RecordTimeRange: Equatable, Sendable {
  var from: Int64?
  /// The first one that is replayed no more.
  var to: Int64?

  static let all = RecordTimeRange()

  /// A record without a timestamp (below 0) cannot be said to lie within limits.
  @inline(__always)
  func contains(_ timestampMs: Int64) -> Bool {
    if from == nil && to == nil { return true }
    guard timestampMs >= 0 else { return false }
    return timestampMs >= from ?? .min && timestampMs < to ?? .max
  }
}

/// How far a backfill has come, as committed. Written by its loops, read by whoever shows it.
public final class ReplayProgress: Sendable {
  private struct Place {
    var next: Int64
    var end: Int64
  }
  private let places: Mutex<[TopicPartitionName: Place]>

  init(_ job: BackfillJob) {
    let pairs = job.partitions.map { ($0.name, Place(next: $0.next, end: $0.end)) }
    places = Mutex(Dictionary(uniqueKeysWithValues: pairs))
  }

  func committed(_ advances: [PositionAdvance]) {
    places.withLock { places in
      for advance in advances { places[advance.partition]?.next = advance.to }
    }
  }

  /// Offsets that are not done yet.
  public var remaining: Int64 {
    places.withLock { $0.values.reduce(0) { $0 + max(0, $1.end - $1.next) } }
  }
}

/// A backfill at work: the same pipeline as a live worker's, on partitions that no group gives, up to ends that were
/// fixed at its start. It keeps its positions in Postgres under the job's own name and tells Kafka nothing.
public final class Replay: Sendable {
  public let progress: ReplayProgress
  private let ingests: [Ingest]

  /// - Parameters:
  ///   - settings: A live worker's. The job's group and claim take the place of its own.
  ///   - parallel: Loops, each with a consumer and a database connection; no more than partitions are of use.
  ///   - rate: Records a second, for all loops together; nil is as fast as it goes.
  public init(
    _ job: BackfillJob, claim: BackfillClaim, settings: IngestSettings, parallel: Int, rate: Int?,
    observer: Observer, health: HealthState
  ) {
    let progress = ReplayProgress(job)
    self.progress = progress
    let pace = rate.map { SharedPace(rate: $0) }
    ingests = Self.split(job.partitions, among: parallel).map { partitions in
      var settings = settings
      settings.group = job.group
      settings.topics = Set(partitions.map(\.name.topic)).sorted()
      settings.database.group = job.group
      settings.database.claim = claim
      settings.replay = ReplayPart(
        job: job.name,
        ends: Dictionary(
          uniqueKeysWithValues: partitions.map {
            (TopicPartition(topic: $0.name.topic, partition: $0.name.partition), $0.end)
          }),
        times: RecordTimeRange(from: job.fromMs, to: job.toMs), progress: progress, pace: pace)
      return Ingest(settings: settings, observer: observer, health: health)
    }
  }

  /// Reads to the ends, or until `stop` was called. When one loop fails the others are stopped.
  /// - Throws: what `Ingest.run` throws, and `BackfillTakenOver`.
  public func run() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for ingest in ingests { group.addTask { try await ingest.run() } }
      var failure: (any Error)?
      while let result = await group.nextResult() {
        if case .failure(let error) = result {
          failure = failure ?? error
          stop()
        }
      }
      if let failure { throw failure }
    }
  }

  /// Asks for a clean end: what is in hand is written and committed. From any thread.
  public func stop() { for ingest in ingests { ingest.stop() } }

  /// Deals the partitions out, those with most to read first, each to whoever has least; what is done already is left
  /// out.
  static func split(_ partitions: [BackfillPartition], among count: Int) -> [[BackfillPartition]] {
    let open = partitions.filter { $0.remaining > 0 }
    var shares = [(remaining: Int64, partitions: [BackfillPartition])](
      repeating: (0, []), count: max(1, min(count, open.count)))
    for partition in open.sorted(by: { $0.remaining > $1.remaining }) {
      let place = shares.indices.min { shares[$0].remaining < shares[$1].remaining }!
      shares[place].remaining += partition.remaining
      shares[place].partitions.append(partition)
    }
    return shares.map(\.partitions).filter { !$0.isEmpty }
  }
}
