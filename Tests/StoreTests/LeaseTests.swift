import Store
import TestSupport
import Testing

@Suite("The coordinator's lease")
struct LeaseTests {
  private func lease(_ database: TestDatabase, _ holder: String, seconds: Int32 = 600) throws -> Lease {
    Lease(connection: try database.connect(), schema: database.schema, holder: holder, seconds: seconds)
  }

  @Test("belongs to one holder, on whatever connection, until it is released")
  func oneHolder() throws {
    let database = try TestDatabase()
    #expect(try lease(database, "one").takeOrRenew())
    #expect(try !lease(database, "two").takeOrRenew())
    // No session holds it: another connection of the same holder renews it.
    #expect(try lease(database, "one").takeOrRenew())
    // Nobody releases what is not theirs.
    try lease(database, "two").release()
    #expect(try !lease(database, "two").takeOrRenew())
    try lease(database, "one").release()
    #expect(try lease(database, "two").takeOrRenew())
  }

  @Test("keeps the time it was taken through renewals, and not through a takeover")
  func times() throws {
    let database = try TestDatabase()
    let status = StatusReader(connection: try database.connect(), schema: database.schema)
    #expect(try status.coordinator() == nil)
    #expect(try lease(database, "one").takeOrRenew())
    let taken = try database.rows("SELECT acquired_at FROM @.chat_telemetry_lease")
    #expect(try lease(database, "one").takeOrRenew())
    #expect(
      try database.rows("SELECT acquired_at, renewed_at > acquired_at FROM @.chat_telemetry_lease")
        == [taken[0] + ["t"]])
    #expect(try status.coordinator()?.holder == "one")

    try database.execute("UPDATE @.chat_telemetry_lease SET expires_at = now() - interval '1 second'")
    #expect(try status.coordinator() == nil)
    #expect(try lease(database, "two").takeOrRenew())
    #expect(try status.coordinator()?.holder == "two")
    #expect(try database.rows("SELECT acquired_at FROM @.chat_telemetry_lease") != taken)
    #expect(try !lease(database, "one").takeOrRenew())
  }

  @Test("goes to one of many who want it at once")
  func race() async throws {
    let database = try TestDatabase()
    let takers = (0..<8).map { number in
      Background { try lease(database, "replica \(number)").takeOrRenew() }
    }
    var winners = 0
    for taker in takers where try await taker.value { winners += 1 }
    #expect(winners == 1)
  }
}
