import Foundation
import Postgres
import Telemetry
import TestSupport
import Testing

@testable import Store

@Suite("A frozen worker that holds a lock")
struct StalledHolderTests {
  private let stage: Stage
  private let options: ConnectionOptions

  init() throws {
    stage = try Stage()
    let role = stage.database.role("worker")
    options = stage.database.options(user: role)
    try stage.database.rows("CREATE ROLE \(role) LOGIN")
    try Grants(schema: stage.database.schema).give(to: role, try stage.database.connect())
  }

  @Test(
    "Frozen in the middle of a COPY with the positions locked, it is ended, and its successor stores the batch"
  )
  func frozenInACopy() async throws {
    let events = stage.events(100, seed: 1)
    nonisolated(unsafe) let successor = try stage.writer(options: options, holderAgeSeconds: 0)
    successor.store.connection.stallAfterMs = 5
    let frozen = FrozenWorker()
    let freezing = Background { [stage, options] () -> PostgresError? in
      let connection = try Connection(options)
      try connection.execute(
        stage.database.sql("BEGIN; SELECT FROM @.chat_telemetry_offsets FOR UPDATE"), operation: "lock")
      do {
        try connection.copyIn(
          stage.database.sql("COPY @.chat_telemetry_summary_deltas FROM STDIN (FORMAT binary)"),
          operation: "copy"
        ) { _ in frozen.freeze(connection.backendPID) }
        return nil
      } catch let error as PostgresError {
        return error
      }
    }
    try await eventually("the holder waits for its client in a COPY") {
      try stage.database.number(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = \(frozen.backendPID) AND query LIKE 'COPY%'") == 1
    }
    let writing = Background { [events] in try successor.commit(events) }
    let summary = try await writing.value
    frozen.thaw()
    #expect(summary.stored == [100])
    #expect(try #require(await freezing.value).connectionLost)
    #expect(try stage.truth(events).differences(in: stage.database) == [])
  }

  private enum Holder: CaseIterable { case old, moving, young, stranger, otherProgram, busy, notBlocking }

  @Test(
    "Only a worker that is old enough and silent, of the same role and name, and in the way, is ended",
    arguments: Holder.allCases)
  private func onlyTheRightOne(holder: Holder) async throws {
    var theirs = options
    if holder == .stranger { theirs = stage.database.options }
    if holder == .otherProgram { theirs.applicationName = "psql" }
    nonisolated(unsafe) let held = try Connection(theirs)
    let heldPID = held.backendPID
    try stage.writer(partitions: [0, 1]).commit([TestEvent]())
    try held.execute(
      stage.database.sql(
        """
        BEGIN; SELECT FROM @.chat_telemetry_offsets WHERE partition = \(holder == .notBlocking ? 1 : 0) FOR UPDATE
        """), operation: "lock")
    let alsoHeld = try stage.database.connect()
    if holder == .notBlocking {
      try alsoHeld.execute(
        stage.database.sql("BEGIN; SELECT FROM @.chat_telemetry_offsets WHERE partition = 0 FOR UPDATE"),
        operation: "lock")
    }
    let busy =
      holder == .busy ? Background { try held.execute("SELECT pg_sleep(600)", operation: "work") } : nil
    let (waiterPID, waiting) = try waiter()
    try await stage.database.untilBlocked(waiterPID)

    let watch = StalledHolder(
      options: options, minimumAgeSeconds: holder == .young ? 3_600 : 0, onEnded: { _, _ in })
    watch.look(blocking: waiterPID)
    if holder == .moving { try held.execute("SELECT 1", operation: "go on") }
    watch.look(blocking: waiterPID)

    let lives = try stage.database.number("SELECT count(*) FROM pg_stat_activity WHERE pid = \(heldPID)") == 1
    if holder == .old {
      try await waiting.value
    } else {
      #expect(lives)
    }
    for pid in [heldPID, waiterPID] { try stage.database.terminate(pid) }
    _ = try? await busy?.value
    withExtendedLifetime(alsoHeld) {}
  }

  /// A worker that waits for the position of partition 0.
  private func waiter() throws -> (pid: Int32, Background<Void>) {
    nonisolated(unsafe) let connection = try Connection(options)
    let sql = stage.database.sql("SELECT FROM @.chat_telemetry_offsets WHERE partition = 0 FOR UPDATE")
    return (connection.backendPID, Background { try connection.execute(sql, operation: "wait") })
  }
}

/// Stops a thread until it is told to go on.
///
/// `@unchecked Sendable`: every access to the mutable state is made with `condition` locked.
private final class FrozenWorker: @unchecked Sendable {
  private let condition = NSCondition()
  private var pid: Int32 = 0
  private var isThawed = false

  var backendPID: Int32 { condition.withLock { pid } }

  func freeze(_ pid: Int32) {
    condition.withLock {
      self.pid = pid
      while !isThawed { condition.wait() }
    }
  }

  func thaw() {
    condition.withLock {
      isThawed = true
      condition.signal()
    }
  }
}
