import Postgres
import Telemetry

/// What became of a dead letter that was tried again.
public enum RetryOutcome: Equatable, Sendable {
  case stored
  /// The event was in the table already.
  case duplicate
  /// It cannot be stored still; the dead letter says why now.
  case failed(RejectionReason, detail: String)
  /// Its payload was not kept, so there is nothing to try; the dead letter is as it was.
  case noPayload
}

/// What a retry came to.
public struct RetryReport: Sendable {
  public struct Failure: Encodable, Equatable, Sendable {
    public var id: Int64
    /// The raw value of a `RejectionReason`.
    public var reason: String
    public var detail: String
  }

  public var stored = 0
  public var duplicates = 0
  /// Those that stay as dead letters, by the reason they have now.
  public var failed: [RejectionReason: Int] = [:]
  /// The first of them, at most ``shownFailures``.
  public var failures: [Failure] = []

  public static let shownFailures = 100

  public var failedCount: Int { failed.values.reduce(0, +) }

  mutating func add(_ outcome: RetryOutcome, of id: Int64) {
    switch outcome {
    case .stored: stored += 1
    case .duplicate: duplicates += 1
    case .failed(let reason, let detail):
      add(Failure(id: id, reason: reason.rawValue, detail: detail), reason)
    case .noPayload:
      let detail =
        "the payload was not kept: over \(DeadLetterInsert.keptPayloadsPerDay) events came for that day"
      add(Failure(id: id, reason: RejectionReason.beforeRetention.rawValue, detail: detail), .beforeRetention)
    }
  }

  private mutating func add(_ failure: Failure, _ reason: RejectionReason) {
    failed[reason, default: 0] += 1
    if failures.count < Self.shownFailures { failures.append(failure) }
  }
}

/// Tries dead letters again: each is decoded with its own coordinates, so that an event without an id is the same event
/// as ever, and stored as the ingest transaction stores events, with the dead letter marked as resolved in the same
/// transaction. So each is stored once, whoever else retries or replays it, and whatever is killed.
///
/// Not Sendable: it belongs to one thread, with its store.
public struct DeadLetterRetry {
  let store: BatchStore
  let rules: DecodingRules
  let defaults: FieldDefaults
  /// The present in microseconds since the Unix epoch: decides about event times and which days are made ahead.
  let nowMicros: Int64

  /// Letters to a transaction. Under the 100 rows from which the writer of raw rows blames the table and stops when most
  /// are refused alike: here they were refused before, and staying dead letters they lose nothing.
  static let pageLetters = 90

  public init(store: BatchStore, rules: DecodingRules, defaults: FieldDefaults, nowMicros: Int64) {
    self.store = store
    self.rules = rules
    self.defaults = defaults
    self.nowMicros = nowMicros
  }

  /// Tries those that match and wait, by ascending id; letters that come meanwhile are left out.
  ///
  /// - Parameter dryRun: Everything is tried and nothing kept.
  /// - Throws: `PostgresError`; the transactions before it stay.
  public func run(_ filter: DeadLetterFilter, dryRun: Bool) throws -> RetryReport {
    var waiting = filter
    waiting.state = .waiting
    let queries = DeadLetterQueries(connection: store.connection, schema: store.schema)
    var decoder = EventDecoder(rules: rules)
    var report = RetryReport()
    let last = try queries.lastID()
    var next: Int64 = 0
    while true {
      let rows = try queries.page(
        WaitingLetter.columns, waiting, after: next, through: last, letters: Self.pageLetters)
      var page = RetryPage(defaults: defaults, nowMicros: nowMicros)
      for row in rows { if !page.take(WaitingLetter(row), &decoder) { break } }
      guard let end = page.letters.last else { return report }
      // Where another has resolved one meanwhile, the page is read again without it.
      guard let outcomes = try write(page, dryRun: dryRun) else { continue }
      for (letter, outcome) in zip(page.letters, outcomes) { report.add(outcome, of: letter.id) }
      next = end.id
    }
  }

  /// The outcomes of the page's letters; nil, and nothing is written, when one of them waits no more.
  private func write(_ page: RetryPage, dryRun: Bool) throws -> [RetryOutcome]? {
    let connection = store.connection
    do {
      if !dryRun { try store.ensureDays(page.batch.days, nowMicros: nowMicros) }
      return try RetryTransaction(store: store, page: page, nowMicros: nowMicros).run(dryRun: dryRun)
    } catch {
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }
}
