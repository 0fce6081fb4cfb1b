import Kafka
import Monitoring
import TestSupport
import Testing

@Suite("Records spread over many days", .timeLimit(.minutes(3)))
struct ManyDaysTests {
  /// Events of more days than one transaction may touch, three times over, out of order.
  private func produce(_ stage: Stage, _ truth: inout Truth, count: Int = 600) throws {
    var random = SeededGenerator(seed: 11)
    for number in 0..<count {
      var event = TestEvent.random(&random, nowMs: stage.nowMs, spanMs: 200 * 86_400_000)
      event.iterations = number
      truth.add(event)
      let headers =
        number % 3 == 0 ? [] : [Header("n", value: Array("\(number)".utf8)), Header("x", value: nil)]
      try stage.produce(event.json, headers: headers)
      if number % 50 == 0 { try stage.produce("not an event", headers: headers) }
    }
    try stage.flush()
  }

  @Test("They are split into transactions of at most 64 days, and nothing is lost on the way")
  func splits() async throws {
    let stage = try Stage(partitions: 2)
    var truth = Truth()
    try produce(stage, &truth)
    try await stage.whileConsuming { _ in try await stage.drained(612) }
    #expect(try truth.differences(in: stage.database) == [])
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 12)
    let most = try stage.database.number(
      """
      SELECT max(days) FROM (
        SELECT count(DISTINCT created_at::date) AS days FROM @.chat_telemetry GROUP BY updated_at) AS t
      """)
    #expect((1...64).contains(most))
  }

  @Test("A position never runs ahead of a record that waits for the next transaction")
  func positionsWait() async throws {
    let stage = try Stage()
    var truth = Truth()
    try produce(stage, &truth, count: 300)
    // Seen by a trigger in the very transaction that moves the position: everything before it must be there.
    try stage.database.execute(
      """
      CREATE FUNCTION @.refuse_losses() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE stored bigint := (SELECT count(*) FROM @.chat_telemetry)
        + (SELECT count(*) FROM @.chat_telemetry_dead_letters);
      BEGIN
        IF stored <> new.next_offset THEN
          RAISE EXCEPTION 'position % but % records', new.next_offset, stored;
        END IF;
        RETURN new;
      END $$;
      CREATE TRIGGER refuse_losses BEFORE UPDATE ON @.chat_telemetry_offsets
        FOR EACH ROW EXECUTE FUNCTION @.refuse_losses();
      """)
    try await stage.whileConsuming { worker in
      try await eventually("the end, or a refused position") {
        try stage.isDrained(306) || worker.databaseErrors(.pause) > 0
      }
      #expect(worker.databaseErrors(.pause) == 0)
    }
    #expect(try truth.differences(in: stage.database) == [])
  }
}
