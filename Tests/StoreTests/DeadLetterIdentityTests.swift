import Store
import Telemetry
import TestSupport
import Testing

@Suite("Which record a dead letter is of") struct DeadLetterIdentityTests {
  /// Reads these records as if the partition had been set back to its beginning.
  private func deliver(_ values: [String], timestampMs: Int64, to stage: Stage) throws {
    try stage.database.execute("UPDATE @.chat_telemetry_offsets SET next_offset = 0")
    let outcome = try stage.writer().write([Delivery(from: 0, values: values, timestampMs: timestampMs)])
    guard case .committed = outcome else { throw Writer.NotCommitted() }
  }

  @Test("A replay adds no dead letter, whether its record has a time or none", arguments: [Stage.nowMs, -1])
  func replay(timestampMs: Int64) throws {
    let stage = try Stage()
    for _ in 1...3 { try deliver(["{", "[]"], timestampMs: timestampMs, to: stage) }
    #expect(try stage.deadLetters() == [["0", "invalid_json"], ["1", "not_an_object"]])
  }

  @Test(
    "A record at the old coordinates, of a topic that was deleted and made anew, becomes a dead letter too")
  func recreatedTopic() throws {
    let stage = try Stage()
    try deliver(["{", "[]"], timestampMs: Stage.nowMs, to: stage)
    try deliver(["[]"], timestampMs: Stage.nowMs + 1, to: stage)
    try deliver(["7"], timestampMs: -1, to: stage)
    #expect(
      try stage.deadLetters("record_offset, convert_from(payload, 'UTF8'), record_timestamp IS NULL").sorted {
        ($0[0]!, $0[1]!) < ($1[0]!, $1[1]!)
      } == [["0", "7", "t"], ["0", "[]", "f"], ["0", "{", "f"], ["1", "[]", "f"]])
  }

  @Test("Two letters of the same coordinates, tried again in one transaction, each have their own verdict")
  func retry() throws {
    let stage = try LetterStage()
    let events = stage.events(2, seed: 11)
    try stage.database.execute(
      "ALTER TABLE @.chat_telemetry ADD CONSTRAINT no_session CHECK (session_id NOT LIKE 's-%') NOT VALID")
    try stage.insert([events[0].json])
    try stage.insert([events[1].json], recordTimestamp: "2026-03-15T12:00:01Z")
    #expect(try stage.retry().failed == [.rejectedByDatabase: 2])
    try stage.database.execute("ALTER TABLE @.chat_telemetry DROP CONSTRAINT no_session")
    #expect(try stage.retry().stored == 2)
    #expect(try stage.truth(events).differences(in: stage.database).isEmpty)
  }
}
