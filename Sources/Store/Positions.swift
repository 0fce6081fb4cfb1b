import Postgres
import Telemetry

/// What the offsets table knows of one partition.
public struct StoredPosition: Equatable, Sendable {
  /// The first offset that is not stored yet.
  public var nextOffset: Int64
  /// The cluster whose offsets these are; nil where the broker gave no id.
  public var clusterID: String?
}

/// How far a batch moves one partition.
public struct PositionAdvance: Equatable, Sendable {
  public var partition: TopicPartitionName
  /// What the offsets row must hold for the batch to be written.
  public var from: Int64
  /// What it holds afterwards.
  public var to: Int64
  /// Kafka's timestamp of the last record, in milliseconds since the Unix epoch; nil when no record had one.
  public var lastRecordTimestampMs: Int64?
  /// What the move passes that is neither a row nor a dead letter of the batch.
  public var passed = PassedRecords()

  /// Goes on by the move that begins where this one ends.
  public mutating func add(_ next: PositionAdvance) {
    assert(next.partition == partition && next.from == to)
    to = next.to
    lastRecordTimestampMs = next.lastRecordTimestampMs ?? lastRecordTimestampMs
    passed.add(next.passed)
  }

  public init(partition: TopicPartitionName, from: Int64, to: Int64, lastRecordTimestampMs: Int64?) {
    self.partition = partition
    self.from = from
    self.to = to
    self.lastRecordTimestampMs = lastRecordTimestampMs
  }
}

/// Records that a batch moves past without keeping anything of them.
public struct PassedRecords: Equatable, Sendable {
  /// Tombstones.
  public var skipped = 0
  /// Events that the batch held already.
  public var repeated = 0
  /// Stamped outside the times that a backfill replays.
  public var outOfRange = 0
  /// Offsets that the broker had deleted.
  public var missing: Int64 = 0

  public init() {}

  mutating func add(_ other: PassedRecords) {
    skipped += other.skipped
    repeated += other.repeated
    outOfRange += other.outOfRange
    missing += other.missing
  }
}

/// What the stored positions say of a batch's moves.
enum PositionFence {
  case asExpected
  /// An earlier COMMIT, whose reply was lost, moved them.
  case alreadyMoved
  case movedByOthers

  init(_ advances: [PositionAdvance], stored: [TopicPartitionName: Int64]) {
    if advances.allSatisfy({ stored[$0.partition] == $0.from }) {
      self = .asExpected
    } else if advances.allSatisfy({ stored[$0.partition] == $0.to }) {
      self = .alreadyMoved
    } else {
      self = .movedByOthers
    }
  }
}

/// The consumer positions of one group, which Postgres holds. Not Sendable: as its connection, for one thread.
public struct Positions {
  let connection: Connection
  let schema: Schema
  let group: String

  public init(connection: Connection, schema: Schema, group: String) {
    self.connection = connection
    self.schema = schema
    self.group = group
  }

  /// Every stored position of the given topics.
  public func load(topics: [String]) throws(PostgresError) -> [TopicPartitionName: StoredPosition] {
    var parameters = Parameters()
    parameters.append(group)
    parameters.array(of: .text, count: topics.count)
    for topic in topics { parameters.element(topic) }
    let rows = try connection.query(
      """
      SELECT topic, partition, next_offset, cluster_id FROM \(schema.offsetsTable)
      WHERE consumer_group = $1 AND topic = ANY ($2)
      """, parameters, operation: "read the positions"
    ).rows
    var positions: [TopicPartitionName: StoredPosition] = [:]
    for row in rows {
      let partition = TopicPartitionName(topic: row.text(0), partition: Int32(row.int(1)))
      positions[partition] = StoredPosition(nextOffset: row.int(2), clusterID: row[3])
    }
    return positions
  }

  /// Inserts the positions from which partitions start; a row that is there already stays as it is.
  public func insertStarts(_ starts: [TopicPartitionName: Int64], clusterID: String?) throws(PostgresError) {
    let sorted = starts.sorted { ($0.key.topic, $0.key.partition) < ($1.key.topic, $1.key.partition) }
    try connection.pipeline([
      Self.insertStatement(
        schema, group: group, sorted.map { ($0.key, $0.value) }, clusterID: clusterID, keepingPresent: true)
    ])
  }

  /// Inserts rows whose position is their first one.
  ///
  /// - Parameters:
  ///   - starts: In the order of their partitions.
  ///   - keepingPresent: Whether a row that is there already stays as it is; otherwise it is a unique violation.
  static func insertStatement(
    _ schema: Schema, group: String, _ starts: [(partition: TopicPartitionName, offset: Int64)],
    clusterID: String?, keepingPresent: Bool
  ) -> Statement {
    var parameters = Parameters()
    parameters.append(group)
    parameters.append(clusterID)
    parameters.append(starts)
    return Statement(
      """
      INSERT INTO \(schema.offsetsTable) (consumer_group, cluster_id, topic, partition, next_offset, start_offset)
      SELECT $1, $2, u.topic, u.partition, u.start, u.start FROM unnest($3, $4, $5) AS u (topic, partition, start)
      \(keepingPresent ? "ON CONFLICT (consumer_group, topic, partition) DO NOTHING" : "")
      """, parameters, operation: "insert the first positions")
  }

  /// Locks the rows of these partitions, in one order for everybody, and returns what they hold.
  static func lockStatement(_ schema: Schema, group: String, _ partitions: [TopicPartitionName]) -> Statement
  {
    var parameters = Parameters()
    parameters.append(group)
    parameters.appendNames(partitions)
    return Statement(
      """
      SELECT o.topic, o.partition, o.next_offset FROM \(schema.offsetsTable) AS o
      JOIN unnest($2, $3) AS u (topic, partition) USING (topic, partition)
      WHERE o.consumer_group = $1
      ORDER BY o.topic COLLATE "C", o.partition
      FOR UPDATE OF o
      """, parameters, operation: "lock the positions")
  }

  /// What `lockStatement` returned.
  static func locked(_ result: QueryResult) -> [TopicPartitionName: Int64] {
    var positions: [TopicPartitionName: Int64] = [:]
    for row in result.rows {
      positions[TopicPartitionName(topic: row.text(0), partition: Int32(row.int(1)))] = row.int(2)
    }
    return positions
  }

  /// Moves the rows, which `lockStatement` has locked and the caller has compared.
  static func advanceStatement(_ schema: Schema, group: String, _ advances: [PositionAdvance]) -> Statement {
    var parameters = Parameters()
    parameters.append(group)
    parameters.append(advances.map { ($0.partition, $0.to) })
    parameters.array(of: .timestamptz, count: advances.count)
    for advance in advances { parameters.element(recordTimestampMs: advance.lastRecordTimestampMs) }
    return Statement(
      """
      UPDATE \(schema.offsetsTable) AS o SET
        next_offset = u.next_offset,
        last_record_at = coalesce(u.last_record_at, o.last_record_at),
        updated_at = now()
      FROM unnest($2, $3, $4, $5) AS u (topic, partition, next_offset, last_record_at)
      WHERE o.consumer_group = $1 AND o.topic = u.topic AND o.partition = u.partition
      """, parameters, operation: "move the positions")
  }
}

extension Parameters {
  /// Three arrays: the topics, the partitions and their offsets.
  mutating func append(_ offsets: [(partition: TopicPartitionName, offset: Int64)]) {
    appendNames(offsets.map(\.partition))
    array(of: .int8, count: offsets.count)
    for each in offsets { element(each.offset) }
  }

  /// Two arrays: the topics and the partitions.
  mutating func appendNames(_ names: [TopicPartitionName]) {
    array(of: .text, count: names.count)
    for name in names { element(name.topic) }
    array(of: .int4, count: names.count)
    for name in names { element(name.partition) }
  }

  /// A timestamp in milliseconds since the Unix epoch that a record's producer chose; null where `timestamptz`, which
  /// ends with the year 294276, cannot hold it.
  mutating func element(recordTimestampMs value: Int64?) {
    guard let value, (0..<9_224_318_016_000_000).contains(value) else { return nullElement() }
    element((value - postgresEpochMicros / 1_000) * 1_000)
  }
}
