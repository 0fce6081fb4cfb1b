import Postgres
import Telemetry

/// A part of a batch, and how the batch moves the positions. A batch that is larger than what is kept in memory goes to
/// the database in parts, within one transaction: the larger a transaction, the fewer rollup rows and deltas are written
/// for each event.
public struct BatchPart: Equatable, Sendable {
  /// How far the batch has moved the partitions with this part, from its beginning; in the order of the partitions, at
  /// least one in the last part.
  public var advances: [PositionAdvance]
  /// Partitions that the parts to come may move too, in order. They are locked with the first part, all in one order.
  public var others: [TopicPartitionName]
  public var isFirst: Bool
  public var isLast: Bool

  public init(
    advances: [PositionAdvance], others: [TopicPartitionName] = [], isFirst: Bool = true, isLast: Bool = true
  ) {
    self.advances = advances
    self.others = others
    self.isFirst = isFirst
    self.isLast = isLast
  }

  var locks: [TopicPartitionName] { advances.map(\.partition) + others }
}

/// What became of a part of a batch.
public enum WriteOutcome: Sendable {
  /// The last part, and with it the whole batch.
  case committed(BatchSummary)
  /// The rows are in the table, but the transaction is open: the next part is awaited. Nobody sees them yet.
  case appended(BatchSummary)
  /// The positions already stand where the batch would move them: an earlier COMMIT, whose reply was lost, did it.
  case alreadyCommitted
  /// The positions are not those that the batch started from: somebody else moved them. Nothing was written.
  case fenced
  /// Some rows become dead letters, and the batch has not kept the records' bytes. Nothing was written; it must be read
  /// again with them.
  case recordsNeeded
  /// The transaction with the earlier parts has failed. Nothing was written; they must be read again.
  case partsLost
}

/// What one part of a batch came to. Counts are by the index of its partitions.
public struct BatchSummary: Sendable {
  public var stored: [Int]
  /// Found among the keys committed lately, or in the table.
  public var duplicates: [Int]
  /// Dead letters of rows that were decoded, but that the database refused or whose day was dropped.
  public var lateDeadLetters: [DeadLetter]
  /// Rows that the database refused, by SQLSTATE.
  public var refused: [String: Int] = [:]
  /// Times of the stored events, in microseconds since the Unix epoch, ascending.
  public var eventTimes: [Int64]
  /// Bytes that the worker keeps for the rollups of the batch, with this part.
  public var sumsBytes = 0
  /// Seconds from the beginning to the end of the raw rows, duplicates found on the way too.
  public var copySeconds = 0.0
  /// Seconds from there to the end, which is the acknowledged COMMIT for the last part.
  public var commitSeconds = 0.0
}

/// Writes batches: raw rows, rollups, deltas, dead letters and positions in one transaction each.
///
/// Not Sendable: it belongs to one thread, with its connection. It remembers the keys committed lately; throw it away,
/// and that memory with it, when the connection is lost or the positions turn out to be somebody else's.
public final class BatchStore {
  public let connection: Connection
  let schema: Schema
  let group: String
  private let options: ConnectionOptions
  private let claim: BackfillClaim?
  /// The transaction that awaits the next part of its batch.
  private var open: IngestTransaction?
  private var recent: RecentKeys
  /// Days whose partitions are known to be there.
  private var readyDays: Set<Int32> = []
  /// Whether a key of the last part was stored before, and unknown to this worker. Then the next one is likely to have
  /// such a key as well, and asking first costs a third of what copying in vain does.
  private var repeatsComeUp: Bool

  /// Longest wait for a lock, in milliseconds, before the transaction is given up and tried again.
  static let lockTimeoutMs = 30_000
  /// The server ends a transaction of ours that has waited this long for us, in milliseconds.
  static let idleTimeoutMs = 60_000
  /// What the last `write` was about to commit, whether or not its COMMIT was acknowledged; nil when it came not so far.
  public private(set) var lastAttempt: BatchSummary?

  /// Takes over an open connection. `recentKeys` bounds the memory of committed keys, in events; a worker that holds a
  /// lock we wait for and has been silent within a transaction older than `holderAgeSeconds` is ended. With a `claim` the
  /// batches are a backfill's: each is counted for the job, and refused once another process has taken that up.
  public init(
    connection: Connection, options: ConnectionOptions, schema: Schema, group: String, recentKeys: Int,
    claim: BackfillClaim? = nil, holderAgeSeconds: Int32 = 10,
    onHolderEnded: @escaping (_ pid: Int64, _ heldSeconds: Double) -> Void
  ) {
    self.connection = connection
    self.schema = schema
    self.group = group
    self.options = options
    self.claim = claim
    // What is replayed is mostly stored.
    repeatsComeUp = claim != nil
    recent = RecentKeys(generationSize: max(1, recentKeys / 2))
    let holder = StalledHolder(
      options: options, minimumAgeSeconds: holderAgeSeconds, onEnded: onHolderEnded)
    connection.onStall = { holder.look(blocking: $0) }
  }

  /// Writes a batch that is in one part, or finds that it must not be written.
  public func write(
    _ batch: EventBatch, advances: [PositionAdvance], nowMicros: Int64,
    beforeCommit: (_ late: [DeadLetter]) throws -> Void = { _ in }
  ) throws -> WriteOutcome {
    try write(batch, BatchPart(advances: advances), nowMicros: nowMicros, beforeCommit: beforeCommit)
  }

  /// Writes a part of a batch, or finds that the batch must not be written. A first part gives up the batch before, if
  /// that awaits more.
  ///
  /// - Parameters:
  ///   - nowMicros: Now, in microseconds since the Unix epoch: decides which days are made ahead.
  ///   - beforeCommit: Called within the transaction with the dead letters that it found, before anything that others
  ///     wait for is locked. When it throws, nothing is written.
  /// - Throws: `PostgresError` when nothing was committed as far as is known, `SchemaRefusesRows`, `BackfillTakenOver`,
  ///   and what `beforeCommit` throws. The batch is then to be written again from its first part, or, to learn what
  ///   became of it, the same part once more.
  public func write(
    _ batch: EventBatch, _ part: BatchPart, nowMicros: Int64,
    beforeCommit: (_ late: [DeadLetter]) throws -> Void = { _ in }
  ) throws -> WriteOutcome {
    lastAttempt = nil
    do {
      if part.isFirst { try giveUp() } else if open == nil { return try outcome(ofLost: part) }
      try ensureDays(batch.days, nowMicros: nowMicros)
      let transaction =
        open
        ?? IngestTransaction(
          connection: connection, schema: schema, group: group, nowMicros: nowMicros, claim: claim)
      var rows = RecentSplit(batch, recent)
      let outcome = try transaction.write(&rows, part, probeFirst: repeatsComeUp) { summary in
        try beforeCommit(summary.lateDeadLetters)
        lastAttempt = summary
      }
      finish(part, outcome, rows, transaction)
      return outcome
    } catch {
      readyDays = []
      forgetOpen()
      if connection.isUsable && connection.isInTransaction {
        _ = try? connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }

  /// Rolls back a batch that awaits more parts, if there is one.
  public func giveUp() throws(PostgresError) {
    guard open != nil else { return }
    forgetOpen()
    try connection.execute("ROLLBACK", operation: "roll back a batch that was given up")
  }

  private func finish(
    _ part: BatchPart, _ outcome: WriteOutcome, _ rows: RecentSplit, _ transaction: IngestTransaction
  ) {
    switch outcome {
    case .appended:
      open = transaction
      remember(rows)
    case .committed:
      open = nil
      remember(rows)
    case .alreadyCommitted, .fenced, .recordsNeeded, .partsLost: forgetOpen()
    }
  }

  /// The keys of the parts that are not committed go with them.
  private func forgetOpen() {
    guard open != nil else { return }
    open = nil
    recent.removeAll()
  }

  /// Whether the transaction with the earlier parts was committed after all. Waits for its backend, which may be at it.
  private func outcome(ofLost part: BatchPart) throws(PostgresError) -> WriteOutcome {
    let results = try connection.pipeline([
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.settings,
      Positions.lockStatement(schema, group: group, part.locks),
      Statement("ROLLBACK", operation: "roll back"),
    ])
    switch PositionFence(part.advances, stored: Positions.locked(results[2])) {
    case .asExpected: return .partsLost
    case .alreadyMoved: return .alreadyCommitted
    case .movedByOthers: return .fenced
    }
  }

  private func remember(_ rows: RecentSplit) {
    recent.insert(rows: rows.stored, of: rows.batch)
    recent.insert(rows: rows.inTable, of: rows.batch)
    repeatsComeUp = !rows.inTable.isEmpty
  }

  /// Makes the partitions that the batch needs, and tomorrow's, in a short transaction of its own: over a connection of
  /// its own while a batch awaits more parts.
  func ensureDays(_ days: [Int32], nowMicros: Int64) throws(PostgresError) {
    let tomorrow = UTCBucket.day(ofMicros: nowMicros) + 1
    let missing = Set(days + [tomorrow]).subtracting(readyDays).sorted()
    guard !missing.isEmpty else { return }
    let free = open == nil ? connection : try Connection(options)
    try free.pipeline([
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.settings,
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

extension BatchStore {
  /// The positions of the store's group.
  public var positions: Positions { Positions(connection: connection, schema: schema, group: group) }
}
