import Kafka
import Pipeline
import Store
import Telemetry

/// What setting a topic's positions does.
struct OffsetsPlan: Encodable {
  struct Partition: Encodable, Equatable {
    var partition: Int32
    /// Nil where the group has no position.
    var from: Int64?
    var to: Int64
    /// The brokers' oldest offset, and the one behind their newest.
    var low: Int64
    var high: Int64
    /// Offsets that were read and will be again.
    var again: Int64
    /// Offsets that the brokers hold and that were not read, nor will be.
    var skipped: Int64
    /// Offsets that were not read and that the brokers hold no more.
    var gone: Int64

    init(partition: Int32, from: Int64?, to: Int64, _ watermarks: Watermarks) {
      (self.partition, self.from, self.to) = (partition, from, to)
      (low, high) = (watermarks.low, watermarks.high)
      // Nothing was read of a partition without a position, nor of one made anew, whose end lies before the position.
      let unread = from.map { $0 > watermarks.high ? watermarks.low : $0 } ?? watermarks.low
      again = max(0, unread - to)
      skipped = max(0, to - max(unread, watermarks.low))
      gone = max(0, watermarks.low - unread)
    }
  }

  var group: String
  var topic: String
  var clusterID: String?
  var partitions: [Partition]
  /// Who is at work in the group.
  var workers: [String] = []
  var executed = false

  private enum CodingKeys: String, CodingKey { case group, topic, partitions, workers, executed }

  /// The positions that move.
  var changes: [PositionChange] {
    partitions.filter { $0.from != $0.to }.map {
      PositionChange(
        partition: TopicPartitionName(topic: topic, partition: $0.partition), from: $0.from, to: $0.to)
    }
  }

  var text: String {
    var table = TextTable(
      .number("partition"), .number("from"), .number("to"), .number("oldest"), .number("end"),
      .number("read again"), .number("skipped"))
    for each in partitions {
      table.add(
        "\(each.partition)", each.from.map { NumberText.grouped($0) } ?? "none", NumberText.grouped(each.to),
        NumberText.grouped(each.low), NumberText.grouped(each.high), NumberText.grouped(each.again),
        NumberText.grouped(each.skipped))
    }
    let notes = notes.map { $0 + "\n" }.joined()
    return "Group \(group), topic \(topic)\n" + table.rendered(width: Console.width) + notes
  }

  private var notes: [String] {
    var notes: [String] = []
    let (again, skipped, gone) = (sum(\.again), sum(\.skipped), sum(\.gone))
    if again > 0 {
      notes.append(
        "\(NumberText.grouped(again)) offsets are read again: repeats add nothing, but for events of days whose raw "
          + "rows were dropped, which become dead letters (before_retention).")
    }
    if skipped > 0 {
      notes.append("\(NumberText.grouped(skipped)) offsets are skipped: this group will never read them.")
    }
    if gone > 0 {
      notes.append("\(NumberText.grouped(gone)) offsets were not read, and the brokers hold them no more.")
    }
    if partitions.contains(where: { $0.from ?? 0 > $0.high }) {
      notes.append("A position lies past the end of its partition: was the topic deleted and made anew?")
    }
    if !executed && !workers.isEmpty {
      notes.append(
        "The group is at work: \(workers.joined(separator: ", ")). --execute refuses until it has stopped.")
    }
    let count = changes.count
    switch (executed, count) {
    case (_, 0): notes.append("Every position is there already.")
    case (true, _): notes.append("\(VerificationText.count(Int64(count), "position")) set.")
    case (false, _): notes.append("Nothing was changed. To set the positions, say --execute.")
    }
    return notes
  }

  private func sum(_ value: (Partition) -> Int64) -> Int64 { partitions.reduce(0) { $0 + value($1) } }
}

/// Finds out what setting positions would do. Blocks on the brokers and the database, and changes nothing.
struct OffsetsPlanner {
  let consumer: Consumer
  let positions: Positions
  /// Microseconds since the Unix epoch: what ages are counted back from.
  let nowMicros: Int64

  /// For each question to the brokers, in milliseconds.
  private static let timeoutMs: Int32 = 10_000

  /// - Parameter only: These partitions; all where it is empty.
  /// - Throws: `CommandFailure`, `KafkaError`, `PositionError.otherCluster`, `PostgresError`.
  func plan(group: String, topic: String, to: ReplayPoint, only: [Int32]) throws -> OffsetsPlan {
    let count = try consumer.partitionCount(ofTopic: topic, timeoutMs: Self.timeoutMs)
    if let unknown = only.first(where: { $0 >= count }) {
      throw CommandFailure("offsets: topic \(topic) has no partition \(unknown): it has \(count)")
    }
    let stored = try positions.load(topics: [topic])
    if stored.isEmpty && !only.isEmpty {
      // With a position for one, the worker would take the others for partitions that came later.
      throw CommandFailure(
        "offsets: the group \(group) has no position in \(topic) yet: leave --partition out to set them all")
    }
    let clusterID = try consumer.clusterID(timeoutMs: Self.timeoutMs)
    try refuseOtherCluster(stored, clusterID)
    let numbers = only.isEmpty ? Array(0..<count) : only.sorted()
    let rows = try numbers.map { number in
      let partition = TopicPartition(topic: topic, partition: number)
      let watermarks = try consumer.watermarks(of: partition, timeoutMs: Self.timeoutMs)
      let name = TopicPartitionName(topic: topic, partition: number)
      return OffsetsPlan.Partition(
        partition: number, from: stored[name]?.nextOffset, to: try offset(to, partition, watermarks),
        watermarks)
    }
    return OffsetsPlan(group: group, topic: topic, clusterID: clusterID, partitions: rows)
  }

  private func offset(
    _ place: ReplayPoint, _ partition: TopicPartition, _ watermarks: Watermarks
  ) throws -> Int64 {
    switch place {
    case .earliest: return watermarks.low
    case .latest: return watermarks.high
    case .offset(let offset):
      guard (watermarks.low...watermarks.high).contains(offset) else {
        throw CommandFailure(
          "offsets: \(offset) is outside \(partition): its oldest offset is \(watermarks.low), its end "
            + "\(watermarks.high). Nothing was changed")
      }
      return offset
    case .time(let time):
      // Kafka's times are whole milliseconds: the first one not before the time asked for.
      let milliseconds = (time.micros(now: nowMicros) + 999) / 1_000
      let found = try consumer.offsets(
        ofTime: milliseconds, in: [partition], timeoutMs: Self.timeoutMs)
      let offset = found.first?.offset ?? watermarks.high
      return min(max(offset, watermarks.low), watermarks.high)
    }
  }

  private func refuseOtherCluster(
    _ stored: [TopicPartitionName: StoredPosition], _ clusterID: String?
  ) throws(PositionError) {
    guard let clusterID else { return }
    for (name, position) in stored {
      guard let known = position.clusterID, known != clusterID else { continue }
      throw .otherCluster(
        partition: TopicPartition(topic: name.topic, partition: name.partition), stored: known,
        found: clusterID)
    }
  }
}
