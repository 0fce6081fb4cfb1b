import Postgres
import Store
import TestSupport
import Testing

/// A migrated schema, events for it and their truth.
struct SummaryStage {
  let database: TestDatabase
  let store: EventStore
  /// The server's time when the test began.
  let nowMs: Int64

  init() throws {
    database = try TestDatabase()
    store = try EventStore(database)
    nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
  }

  static let dayMs: Int64 = 86_400_000

  func retention() throws -> Retention {
    Retention(connection: try database.connect(), schema: database.schema)
  }

  func summaries() throws -> Summaries {
    Summaries(connection: try database.connect(), schema: database.schema)
  }

  /// Folds and refreshes both views, which must succeed.
  func refresh(_ location: SourceLocation = #_sourceLocation) throws {
    let outcomes = try summaries().refresh(nil, cause: "manual")
    #expect(outcomes.map(\.error) == [nil, nil], sourceLocation: location)
  }

  func expectTruth(_ location: SourceLocation = #_sourceLocation) throws {
    #expect(try SummaryTruth(database: database).differences() == [], sourceLocation: location)
  }

  /// Events of all kinds: many domains and models, with blanks, missing values and extremes among them.
  func events(_ count: Int, seed: UInt64, spanMs: Int64 = 9 * SummaryStage.dayMs) -> [TestEvent] {
    var random = SeededGenerator(seed: seed)
    let domains: [String?] = [
      nil, "", "unknown", "acme.example", "ACME.example", "O'Neil.example", "日本.example", "a,{b} c",
    ]
    let models = ["large", "small", "", "unknown", "Large", "ünï", "x,y"]
    return (0..<count).map { _ in
      var event = TestEvent.random(&random, nowMs: nowMs, spanMs: spanMs)
      event.domain = domains.randomElement(using: &random)!
      event.model = models.randomElement(using: &random)!
      event.durationMs = [
        nil, 0, Int.random(in: 1...90_000, using: &random), 1 << Int.random(in: 0...30, using: &random),
      ]
      .randomElement(using: &random)!
      event.inputTokens = Bool.random(using: &random) ? event.inputTokens : nil
      event.costMicros = [nil, 0, event.costMicros, 999_999_999_999].randomElement(using: &random)!
      return event
    }
  }

  /// Events of all kinds, of the UTC day so many days ago.
  func events(_ count: Int, daysAgo: Int64, seed: UInt64) -> [TestEvent] {
    events(count, seed: seed).map { event in
      var event = event
      event.createdAtMs = (nowMs / Self.dayMs - daysAgo) * Self.dayMs + event.createdAtMs % Self.dayMs
      return event
    }
  }

  /// The UTC day so many days ago.
  func date(daysAgo: Int64) throws -> String? {
    try database.rows("SELECT date '1970-01-01' + \(nowMs / Self.dayMs - daysAgo)")[0][0]
  }

  /// One event without anything that may be missing.
  func bare(_ domain: String?, _ model: String, agoMs: Int64 = 60_000, durationMs: Int? = nil) -> TestEvent {
    var random = SystemRandomNumberGenerator()
    var event = TestEvent.random(&random, nowMs: nowMs)
    event.createdAtMs = nowMs - agoMs
    (event.domain, event.model, event.durationMs) = (domain, model, durationMs)
    (event.inputTokens, event.outputTokens, event.costMicros) = (nil, nil, nil)
    return event
  }

  /// The values of a view's column by key.
  func view(_ name: String, _ column: String) throws -> [String?: String?] {
    Dictionary(
      try database.rows("SELECT * FROM (SELECT \(column)::text, v.* FROM @.\(name) AS v) AS q").map {
        ($0[1], $0[0])
      },
      uniquingKeysWith: { first, _ in first })
  }
}
