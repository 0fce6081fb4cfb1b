import Kafka
import Store
import Telemetry

/// The partitions that the group has given this worker, and how far each has come.
///
/// Every change of what is owned, and every new reading of the positions, has a number of its own: what was read or
/// handed over under an earlier number is void.
struct Assignment {
  enum State: Equatable {
    /// The group has given nothing, or taken it back.
    case none
    /// The positions are being read; records are not fetched yet.
    case loading
    /// Reading the positions, or asking the brokers about them, failed: again at that time of the steady clock.
    case retrying(atMs: Int64)
    case active
  }

  private(set) var state = State.none
  private(set) var number = 0
  private(set) var partitions: [TopicPartition] = []
  private(set) var progress: [PartitionProgress] = []
  /// Topic → partition → index in `progress`.
  private var places: [String: [Int32: Int]] = [:]
  /// The place of the last record, which is that of the next one most of the time.
  private var last: (topic: String, partition: Int32, place: Int)?
  private(set) var failures = 0

  var hasMoved: Bool { progress.contains { $0.hasMoved } }
  /// Whether a replay has committed everything up to the ends of its partitions; they have none otherwise.
  var isDone: Bool { state == .active && progress.allSatisfy(\.isDone) }
  /// What there is to fetch yet.
  var unread: [TopicPartition] { progress.filter { !$0.isRead }.map(\.partition) }
  /// What a replay has read to its end.
  var read: [TopicPartition] { progress.filter(\.isRead).map(\.partition) }

  /// The group gave these partitions: their positions have to be read.
  mutating func own(_ partitions: [TopicPartition]) {
    self.partitions = partitions
    failures = 0
    beginLoading()
  }

  /// The positions have to be read (again); nothing is taken meanwhile.
  mutating func beginLoading() {
    number += 1
    forgetProgress()
    state = partitions.isEmpty ? .active : .loading
  }

  mutating func retryLoading(atMs: Int64) {
    failures += 1
    state = .retrying(atMs: atMs)
  }

  mutating func activate(_ progress: [PartitionProgress]) {
    self.progress = progress
    for (place, each) in progress.enumerated() {
      places[each.partition.topic, default: [:]][each.partition.partition] = place
    }
    failures = 0
    state = .active
  }

  /// The group took everything back.
  mutating func release() {
    number += 1
    partitions = []
    forgetProgress()
    state = .none
  }

  /// Whether the record is one to take; false for one of a partition that is not ours, or taken before.
  mutating func take(topic: String, partition: Int32, offset: Int64, timestampMs: Int64) -> Bool {
    guard let place = place(topic, partition) else { return false }
    return progress[place].take(offset: offset, timestampMs: timestampMs)
  }

  mutating func reachedEnd(of partition: TopicPartition, at offset: Int64) {
    guard let place = place(partition.topic, partition.partition) else { return }
    progress[place].reachedEnd(at: offset)
  }

  /// Returns how many offsets are gone, and from where.
  mutating func skipGap(of partition: TopicPartition, to low: Int64) -> (from: Int64, missing: Int64)? {
    guard let place = place(partition.topic, partition.partition) else { return nil }
    let from = progress[place].next
    return (from, progress[place].skipGap(to: low))
  }

  func next(of partition: TopicPartition) -> Int64? {
    places[partition.topic]?[partition.partition].map { progress[$0].next }
  }

  /// The moves since the last hand-over, up to the first offset of each partition that is held back.
  mutating func handOver(heldFrom held: [TopicPartitionName: Int64] = [:]) -> [PositionAdvance] {
    progress.indices.compactMap { place in
      let partition = progress[place].partition.name
      return progress[place].handOver(heldFrom: held[partition]).map { move in
        var advance = PositionAdvance(
          partition: partition, from: move.from, to: move.to, lastRecordTimestampMs: move.lastTimestampMs)
        advance.passed.missing = move.missing
        return advance
      }
    }
  }

  /// The partitions that these moves are not of, in their order.
  func others(than advances: [PositionAdvance]) -> [TopicPartitionName] {
    let moved = Set(advances.map(\.partition))
    return progress.map(\.partition.name).filter { !moved.contains($0) }
  }

  mutating func acknowledge(_ advances: [PositionAdvance]) {
    for advance in advances {
      guard let place = places[advance.partition.topic]?[advance.partition.partition] else { continue }
      progress[place].acknowledge(advance.to)
    }
  }

  private mutating func forgetProgress() {
    progress = []
    places = [:]
    last = nil
  }

  private mutating func place(_ topic: String, _ partition: Int32) -> Int? {
    if let last, last.partition == partition, last.topic == topic { return last.place }
    guard let place = places[topic]?[partition] else { return nil }
    last = (topic, partition, place)
    return place
  }
}
