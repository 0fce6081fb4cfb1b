import Foundation
import Postgres
import Store
import Synchronization
import Telemetry
import TestSupport
import Testing

@Suite("The fence: a batch is written from the positions it started from, or not at all")
struct FencingTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  @Test(
    "Where another moved a position, on, back or away, nothing is written",
    arguments: [
      "UPDATE @.chat_telemetry_offsets SET next_offset = 101 WHERE partition = 1",
      "UPDATE @.chat_telemetry_offsets SET next_offset = 3 WHERE partition = 1",
      "UPDATE @.chat_telemetry_offsets SET next_offset = next_offset + 10 WHERE partition = 1",
      "DELETE FROM @.chat_telemetry_offsets WHERE partition = 1",
    ])
  func fenced(move: String) throws {
    let writer = try stage.writer(partitions: [0, 1])
    try writer.commit(stage.events(5, seed: 1), partition: 1)
    try stage.database.rows(move)
    let before = try stage.measures()
    let outcome = try writer.write([
      writer.delivery(stage.events(10, seed: 2).map(\.json) + ["bad"]),
      writer.delivery(stage.events(10, seed: 3).map(\.json), partition: 1),
    ])
    guard case .fenced = outcome else {
      Issue.record("expected a fence, got \(outcome)")
      return
    }
    #expect(try stage.measures() == before)
    #expect(try stage.deadLetters() == [])
    #expect(try stage.nextOffset == 0)
    #expect(!writer.store.connection.isInTransaction)
  }

  @Test("Where the positions stand at the batch's ends already, nothing is written again")
  func alreadyCommitted() throws {
    let writer = try stage.writer(partitions: [0, 1])
    let deliveries = [
      writer.delivery(stage.events(10, seed: 2).map(\.json) + ["bad"]),
      writer.delivery(stage.events(10, seed: 3).map(\.json), partition: 1),
    ]
    _ = try writer.write(deliveries)
    let before = try stage.measures()
    for again in [writer, try stage.writer(partitions: [0, 1])] {
      guard case .alreadyCommitted = try again.write(deliveries) else {
        Issue.record("not taken for committed")
        return
      }
      #expect(try stage.measures() == before)
      #expect(!again.store.connection.isInTransaction)
    }
    #expect(try stage.deadLetters().count == 1)
    // The worker goes on from there.
    #expect(try writer.commit(stage.events(10, seed: 4)).stored == [10])
  }

  @Test("A COMMIT whose reply was lost is an error of a lost connection, and is found committed afterwards")
  func lostReply() async throws {
    let events = stage.events(100, seed: 5)
    try stage.writer().commit([TestEvent](events[0..<10]))
    // The server commits and then waits for a standby that does not exist: its answer never comes.
    var options = stage.database.options
    options.conninfo += "?options=-c%20synchronous_commit%3Don"
    nonisolated(unsafe) let writer = try stage.writer(options: options)
    let pid = writer.store.connection.backendPID
    let delivery = writer.delivery(events[10...].map(\.json))
    let writing = Background { () -> PostgresError? in
      do {
        _ = try writer.write([delivery])
        return nil
      } catch let error as PostgresError {
        return error
      }
    }
    try await eventually("the server waits in COMMIT") {
      try stage.database.number(
        "SELECT count(*) FROM pg_stat_activity WHERE pid = \(pid) AND wait_event = 'SyncRep'") == 1
    }
    try stage.database.terminate(pid)
    #expect(try #require(await writing.value).connectionLost)
    #expect(writer.store.lastAttempt?.stored == [90], "what it was about to commit is known")
    let before = try stage.measures()
    #expect(writer.store.lastAttempt?.stored == [90], "what it was about to commit is known")
    guard case .alreadyCommitted = try stage.writer().write([delivery]) else {
      Issue.record("not found committed")
      return
    }
    #expect(try stage.measures() == before)
    #expect(try stage.truth(events).differences(in: stage.database) == [])
  }

  @Test("Whenever the connection breaks, each event is counted once")
  func breaksAtRandom() async throws {
    let events = stage.events(3_000, seed: 6)
    let victim = Atomic<Int32>(0)
    let isWritten = Atomic<Bool>(false)
    let killing = Background { [stage] in
      var random = SeededGenerator(seed: 7)
      let killer = try stage.database.connect()
      var kills = 0
      while kills < 60 && !isWritten.load(ordering: .acquiring) {
        // The moment is the point of the test: anywhere between connecting and the reply to COMMIT.
        usleep(UInt32.random(in: 0..<40_000, using: &random))
        let pid = victim.exchange(0, ordering: .acquiringAndReleasing)
        guard pid != 0 else { continue }
        try killer.execute("SELECT pg_terminate_backend(\(pid))", operation: "end a backend")
        kills += 1
      }
    }
    let writing = Background { [stage] in
      defer { isWritten.store(true, ordering: .releasing) }
      var failures = 0
      for start in stride(from: 0, to: events.count, by: 100) {
        // A tenth of each batch was delivered with the one before already; the first has dead letters instead.
        let again =
          start == 0 ? [String](repeating: "bad", count: 10) : events[start - 10..<start].map(\.json)
        let delivery = Delivery(
          from: Int64(start + start / 10), values: again + events[start..<start + 100].map(\.json))
        while true {
          do {
            let writer = try stage.writer()
            victim.store(writer.store.connection.backendPID, ordering: .releasing)
            guard case .fenced = try writer.write([delivery]) else { break }
            Issue.record("fenced at \(start)")
            return failures
          } catch let error as PostgresError {
            #expect(error.connectionLost, "\(error)")
            failures += 1
          }
        }
      }
      return failures
    }
    #expect(try await writing.value > 3)
    try await killing.value
    #expect(try stage.truth(events).differences(in: stage.database) == [])
    #expect(try DeltaTruth(events).differences(in: stage.database) == [])
    #expect(try stage.deadLetters().count == 10)
  }
}
