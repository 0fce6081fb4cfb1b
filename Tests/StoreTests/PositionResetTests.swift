import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("Positions set by hand")
struct PositionResetTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  private func positions() throws -> Positions {
    Positions(connection: try stage.database.connect(), schema: stage.database.schema, group: "test")
  }

  private func change(_ partition: Int32, from: Int64?, to: Int64) -> PositionChange {
    PositionChange(
      partition: TopicPartitionName(topic: Stage.topic, partition: partition), from: from, to: to)
  }

  /// Partitions 0 to 2 at 50, 60 and 70, begun at 40, and another group that is nobody's business.
  private func insert() throws {
    try stage.database.execute(
      """
      INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset, last_record_at)
      SELECT g, '\(Stage.topic)', n, 50 + 10 * n, 40, now() FROM generate_series(0, 2) AS n, unnest('{test,other}'::text[]) AS g
      """)
  }

  private func rows() throws -> [[String?]] {
    try stage.database.rows(
      """
      SELECT consumer_group, partition, next_offset, start_offset, cluster_id, last_record_at IS NULL
      FROM @.chat_telemetry_offsets ORDER BY 1 DESC, 2
      """)
  }

  @Test(
    "The positions named are set; one before the first position becomes the first, and no other row changes")
  func sets() throws {
    try insert()
    let before = try rows()
    let positions = try positions()
    try positions.reset(
      [change(2, from: 70, to: 5), change(0, from: 50, to: 99), change(3, from: nil, to: 7)], clusterID: "c")
    #expect(
      try rows() == [
        ["test", "0", "99", "40", "c", "t"], before[1], ["test", "2", "5", "5", "c", "t"],
        ["test", "3", "7", "7", "c", "t"],
      ] + before[3...])
    try positions.reset([change(0, from: 99, to: 50)], clusterID: nil)
    #expect(try rows()[0] == ["test", "0", "50", "40", "c", "t"])
  }

  @Test(
    "Where one of them is not as it was seen, none is set",
    arguments: [(0, Int64?(51)), (0, nil), (3, 70)] as [(Int32, Int64?)])
  func compares(partition: Int32, from: Int64?) throws {
    try insert()
    let before = try rows()
    let positions = try positions()
    let error = try #require(throws: PositionsMoved.self) {
      try positions.reset(
        [change(partition, from: from, to: 1), change(1, from: 60, to: 1)], clusterID: "c")
    }
    #expect(error.partitions.map(\.partition) == [partition])
    #expect(try rows() == before)
    // The connection is good for more.
    try positions.reset([change(1, from: 60, to: 1)], clusterID: nil)
  }

  @Test("A worker's commit at the same time is waited for, and is not undone")
  func waits() async throws {
    try insert()
    let worker = try stage.database.connect()
    try worker.execute(
      stage.database.sql(
        """
        BEGIN; SELECT FROM @.chat_telemetry_offsets WHERE partition = 1 AND consumer_group = 'test' FOR UPDATE;
        UPDATE @.chat_telemetry_offsets SET next_offset = 61 WHERE partition = 1 AND consumer_group = 'test';
        INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset)
        VALUES ('test', '\(Stage.topic)', 3, 9, 9)
        """), operation: "write as a worker does")
    let resets = try [change(1, from: 60, to: 0), change(3, from: nil, to: 0)].map { change in
      let connection = try stage.database.connect()
      let positions = Positions(connection: connection, schema: stage.database.schema, group: "test")
      return (pid: connection.backendPID, work: Resetting(positions: positions, change: change).start())
    }
    for reset in resets { try await stage.database.untilBlocked(reset.pid) }
    try worker.execute("COMMIT", operation: "commit")
    for reset in resets {
      await #expect(throws: PositionsMoved.self) { try await reset.work.value }
    }
    #expect(
      try rows().prefix(4).map { $0[2] } == ["50", "61", "70", "9"])
  }

  @Test(
    "A batch that was read before the reset is refused, and its events are stored when they are read again")
  func fenced() throws {
    let writer = try stage.writer()
    let events = stage.events(20, seed: 1)
    try writer.commit([TestEvent](events[..<10]))
    let inHand = writer.delivery(events[10...].map(\.json))
    try positions().reset([change(0, from: 10, to: 5)], clusterID: nil)
    guard case .fenced = try writer.write([inHand]) else {
      Issue.record("written from a position that was taken back")
      return
    }
    let again = try stage.writer()
    #expect(again.next[0] == 5)
    try again.commit([TestEvent](events[5...]))
    #expect(try stage.truth(events).differences(in: stage.database) == [])
  }
}

/// A reset on a thread of its own.
private struct Resetting: @unchecked Sendable {
  // Handed to one thread, whole.
  let positions: Positions
  let change: PositionChange

  func start() -> Background<Void> { Background { try positions.reset([change], clusterID: nil) } }
}
