import Postgres
import Telemetry

/// What became of a batch.
public enum WriteOutcome: Sendable {
  case committed(BatchSummary)
  /// The positions already stand where the batch would move them: an earlier COMMIT, whose reply was lost, did it.
  case alreadyCommitted
  /// The positions are not those that the batch started from: somebody else moved them. Nothing was written.
  case fenced
  /// Some rows become dead letters, and the batch has not kept the records' bytes. Nothing was written; it must be read
  /// again with them.
  case recordsNeeded
}

/// What one committed batch came to. Counts are by the index of the batch's partitions.
public struct BatchSummary: Sendable {
  public var stored: [Int]
  /// Found among the keys committed lately, or in the table.
  public var duplicates: [Int]
  /// Dead letters of rows that were decoded, but that the database refused or whose day was dropped.
  public var lateDeadLetters: [DeadLetter]
  /// Rows that the database refused, by SQLSTATE.
  public var refused: [String: Int]
  /// Times of the stored events, in microseconds since the Unix epoch, ascending.
  public var eventTimes: [Int64]
  /// Seconds from BEGIN to the end of the raw rows, duplicates found on the way too.
  public var copySeconds: Double
  /// Seconds from there to the acknowledged COMMIT.
  public var commitSeconds: Double
}

/// Writes batches: raw rows, rollups, deltas, dead letters and positions in one transaction each.
///
/// Not Sendable: it belongs to one thread, with its connection. It remembers the keys committed lately; throw it away,
/// and that memory with it, when the connection is lost or the positions turn out to be somebody else's.
public final class BatchStore {
  public let connection: Connection
  let schema: Schema
  let group: String
  private var recent: RecentKeys
  /// Days whose partitions are known to be there.
  private var readyDays: Set<Int32> = []
  /// Whether so many keys of the last batch were stored before that asking first is cheaper.
  private var repeatsAbound = false

  /// Longest wait for a lock, in milliseconds, before the transaction is given up and tried again.
  static let lockTimeoutMs = 30_000
  /// The server ends a transaction of ours that has waited this long for us, in milliseconds.
  static let idleTimeoutMs = 60_000
  /// Share of a batch's rows, in percent, that must be repeats for the next batch to be probed before it is copied.
  static let probePercent = 20

  /// What the last `write` was about to commit, whether or not its COMMIT was acknowledged; nil when it came not so far.
  public private(set) var lastAttempt: BatchSummary?

  /// Takes over an open connection. `recentKeys` bounds the memory of committed keys, in events; a worker that holds a
  /// lock we wait for and has been silent within a transaction older than `holderAgeSeconds` is ended.
  public init(
    connection: Connection, options: ConnectionOptions, schema: Schema, group: String, recentKeys: Int,
    holderAgeSeconds: Int32 = 10, onHolderEnded: @escaping (_ pid: Int64, _ heldSeconds: Double) -> Void
  ) {
    self.connection = connection
    self.schema = schema
    self.group = group
    recent = RecentKeys(generationSize: max(1, recentKeys / 2))
    let holder = StalledHolder(
      options: options, minimumAgeSeconds: holderAgeSeconds, onEnded: onHolderEnded)
    connection.onStall = { holder.look(blocking: $0) }
  }

  /// Writes one batch, or finds that it must not be written.
  ///
  /// - Parameters:
  ///   - advances: In the order of their partitions; at least one.
  ///   - nowMicros: Now, in microseconds since the Unix epoch: decides which days are made ahead.
  ///   - beforeCommit: Called within the transaction with the dead letters that it found, before anything that others
  ///     wait for is locked. When it throws, nothing is written.
  /// - Throws: `PostgresError` when nothing was committed as far as is known, `SchemaRefusesRows`, and what
  ///   `beforeCommit` throws.
  public func write(
    _ batch: EventBatch, advances: [PositionAdvance], nowMicros: Int64,
    beforeCommit: (_ late: [DeadLetter]) throws -> Void = { _ in }
  ) throws -> WriteOutcome {
    lastAttempt = nil
    do {
      try ensureDays(batch.days, nowMicros: nowMicros)
      let transaction = IngestTransaction(
        connection: connection, schema: schema, group: group, batch: batch, advances: advances,
        nowMicros: nowMicros)
      var rows = RecentSplit(batch, recent)
      let outcome = try transaction.run(&rows, probeFirst: repeatsAbound) { summary in
        try beforeCommit(summary.lateDeadLetters)
        lastAttempt = summary
      }
      if case .committed = outcome { remember(rows) }
      return outcome
    } catch {
      readyDays = []
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }

  private func remember(_ rows: RecentSplit) {
    recent.insert(rows: rows.stored, of: rows.batch)
    recent.insert(rows: rows.inTable, of: rows.batch)
    let looked = rows.stored.count + rows.inTable.count
    repeatsAbound = rows.inTable.count * 100 > looked * Self.probePercent
  }

  /// Makes the partitions that the batch needs, and tomorrow's, in a short transaction of its own.
  func ensureDays(_ days: [Int32], nowMicros: Int64) throws(PostgresError) {
    let tomorrow = UTCBucket.day(ofMicros: nowMicros) + 1
    let missing = Set(days + [tomorrow]).subtracting(readyDays).sorted()
    guard !missing.isEmpty else { return }
    try connection.pipeline([
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.timeouts,
      ensureDaysStatement(missing),
      Statement("COMMIT", operation: "commit the partitions of days"),
    ])
    readyDays.formUnion(missing)
  }

  /// Makes the partitions of days, in their order, where there are none.
  func ensureDaysStatement(_ days: [Int32]) -> Statement {
    var parameters = Parameters()
    parameters.array(of: .date, count: days.count)
    for day in days { parameters.element(day - postgresEpochDays) }
    return Statement(
      "SELECT \(schema.table("chat_telemetry_ensure_days"))($1)", parameters,
      operation: "make the partitions of days")
  }
}

/// A batch's rows as they are told apart on their way into the table.
struct RecentSplit {
  let batch: EventBatch
  /// In the order of their keys; not among the keys committed lately.
  var candidates: [Int] = []
  /// Committed lately by this worker.
  var recent: [Int] = []
  var stored: [Int] = []
  /// Found in the table.
  var inTable: [Int] = []

  init(_ batch: EventBatch, _ keys: borrowing RecentKeys) {
    self.batch = batch
    candidates.reserveCapacity(batch.count)
    for row in batch.sortedOrder() {
      if keys.contains(batch.key(row)) { recent.append(row) } else { candidates.append(row) }
    }
  }
}

extension BatchStore {
  /// The positions of the store's group.
  public var positions: Positions { Positions(connection: connection, schema: schema, group: group) }
}
