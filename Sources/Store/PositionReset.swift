import Postgres
import Telemetry

/// A position of a group that is to be set by hand.
public struct PositionChange: Equatable, Sendable {
  public var partition: TopicPartitionName
  /// What the row must hold for the change to be made; nil where there must be none.
  public var from: Int64?
  public var to: Int64

  public init(partition: TopicPartitionName, from: Int64?, to: Int64) {
    self.partition = partition
    self.from = from
    self.to = to
  }
}

/// Somebody moved positions between the look at them and the change. Nothing was changed.
public struct PositionsMoved: Error, Equatable, CustomStringConvertible {
  public var partitions: [TopicPartitionName]

  public var description: String {
    let names = partitions.map { "\($0.topic) [\($0.partition)]" }.joined(separator: ", ")
    return "the positions of \(names) moved meanwhile: is a worker of the group at work? Nothing was changed"
  }
}

extension Positions {
  /// Sets positions in one transaction: all of them if each is still as it was seen, or none.
  ///
  /// A worker that runs all the same, or starts meanwhile, does no harm: the rows are locked, and a batch that began at
  /// another position is refused by its fence, whereupon the worker reads the positions again.
  /// A position before the first one ever becomes the first one (`start_offset`).
  ///
  /// - Parameters:
  ///   - changes: Each partition once.
  ///   - clusterID: The cluster whose offsets these are; nil leaves what is known.
  /// - Throws: `PositionsMoved`, `PostgresError`.
  public func reset(_ changes: [PositionChange], clusterID: String?) throws {
    let sorted = changes.sorted {
      ($0.partition.topic, $0.partition.partition) < ($1.partition.topic, $1.partition.partition)
    }
    do {
      let moved = try lockAndCompare(sorted)
      guard moved.isEmpty else { throw PositionsMoved(partitions: moved) }
      let known = try connection.pipeline([
        update(sorted.filter { $0.from != nil }, clusterID),
        // Finds out about a row that a worker inserts at the same time by inserting less.
        Self.insertStatement(
          schema, group: group, sorted.filter { $0.from == nil }.map { ($0.partition, $0.to) },
          clusterID: clusterID, keepingPresent: true),
      ])
      let missing = sorted.count - known.reduce(0) { $0 + $1.affected }
      guard missing == 0 else {
        throw PositionsMoved(partitions: sorted.filter { $0.from == nil }.map(\.partition))
      }
      try connection.execute("COMMIT", operation: "commit the positions")
    } catch {
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }

  /// Begins the transaction, locks the rows and returns the partitions whose rows are not as expected.
  private func lockAndCompare(_ changes: [PositionChange]) throws(PostgresError) -> [TopicPartitionName] {
    let results = try connection.pipeline([
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.settings, Self.lockStatement(schema, group: group, changes.map(\.partition)),
    ])
    let found = Self.locked(results[2])
    return changes.filter { found[$0.partition] != $0.from }.map(\.partition)
  }

  /// The time of the last record goes: it is no longer of the record before the position.
  private func update(_ changes: [PositionChange], _ clusterID: String?) -> Statement {
    var parameters = Parameters()
    parameters.append(group)
    parameters.append(clusterID)
    parameters.append(changes.map { ($0.partition, $0.to) })
    return Statement(
      """
      UPDATE \(schema.offsetsTable) AS o SET next_offset = u.next_offset,
        start_offset = least(o.start_offset, u.next_offset), cluster_id = coalesce($2, o.cluster_id),
        last_record_at = NULL, updated_at = now()
      FROM unnest($3, $4, $5) AS u (topic, partition, next_offset)
      WHERE o.consumer_group = $1 AND o.topic = u.topic AND o.partition = u.partition
      """, parameters, operation: "set the positions")
  }
}
