import Postgres
import Telemetry

/// What a backfill was asked to replay, as it was given. A job is gone on with only for the same request.
public struct BackfillRequest: Equatable, Sendable {
  /// Sorted, each once.
  public var topics: [String]
  /// Sorted, each once; nil is all.
  public var partitions: [Int32]?
  public var from: String
  public var to: String

  public init(topics: [String], partitions: [Int32]?, from: String, to: String) {
    self.topics = topics
    self.partitions = partitions
    self.from = from
    self.to = to
  }
}

/// What became of a backfill's records.
public struct BackfillCounts: Equatable, Sendable {
  public var stored: Int64 = 0
  /// Stored before.
  public var duplicate: Int64 = 0
  public var deadLetter: Int64 = 0
  /// Tombstones.
  public var skipped: Int64 = 0
  /// Within the offsets, but stamped outside the times that were asked for.
  public var outOfRange: Int64 = 0
  /// Offsets that the broker had deleted before they were read.
  public var missing: Int64 = 0

  public init() {}

  public mutating func add(_ other: BackfillCounts) {
    stored += other.stored
    duplicate += other.duplicate
    deadLetter += other.deadLetter
    skipped += other.skipped
    outOfRange += other.outOfRange
    missing += other.missing
  }
}

/// One partition of a backfill.
public struct BackfillPartition: Equatable, Sendable {
  public var name: TopicPartitionName
  public var start: Int64
  /// The first offset that is not replayed any more.
  public var end: Int64
  /// The first offset that is not done yet.
  public var next: Int64
  public var counts = BackfillCounts()

  public init(name: TopicPartitionName, start: Int64, end: Int64) {
    self.name = name
    self.start = start
    self.end = end
    next = start
  }

  /// Offsets that are to be read yet; records may be fewer.
  public var remaining: Int64 { max(0, end - next) }
}

/// A backfill: what it replays and how far it has come.
public struct BackfillJob: Equatable, Sendable {
  public var name: String
  public var request: BackfillRequest
  /// Records stamped before this are passed over; milliseconds since the Unix epoch, nil is no limit.
  public var fromMs: Int64?
  /// Records stamped at or after this are passed over; the same.
  public var toMs: Int64?
  /// Sorted.
  public var partitions: [BackfillPartition]
  /// RFC 3339 in UTC; nil before the job is created.
  public var startedAt: String?
  /// The same; nil while there is something to do.
  public var finishedAt: String?

  public init(
    name: String, request: BackfillRequest, fromMs: Int64?, toMs: Int64?, partitions: [BackfillPartition]
  ) {
    self.name = name
    self.request = request
    self.fromMs = fromMs
    self.toMs = toMs
    self.partitions = partitions
  }

  /// The consumer group under whose name the positions are kept. No member ever joins it.
  public var group: String { Self.group(of: name) }

  public static func group(of name: String) -> String { "backfill:\(name)" }

  public var remaining: Int64 { partitions.reduce(0) { $0 + $1.remaining } }

  /// Of all partitions.
  public var counts: BackfillCounts {
    partitions.reduce(into: BackfillCounts()) { $0.add($1.counts) }
  }
}

/// The right of one process to work on a job: whoever takes the job up next takes it away.
public struct BackfillClaim: Equatable, Sendable {
  public var job: String
  public var run: Int64
}

/// Another process has taken the job up. This one must stop; it has stored nothing since.
public struct BackfillTakenOver: Error, Equatable, CustomStringConvertible {
  public var job: String

  public var description: String {
    "another process has taken up the backfill \(job) and goes on with it; this one stored nothing since"
  }
}
