import Postgres
import Telemetry

/// The one transaction of a batch, from the fence to the COMMIT. Its rows come in parts: in one, mostly, and in several
/// where a batch is larger than what is kept in memory.
///
/// The rows of each part go into the table at once; rollups, deltas and positions change at the end.
final class IngestTransaction {
  let connection: Connection
  let schema: Schema
  let group: String
  let nowMicros: Int64
  /// The backfill whose batch this is; nil for a live worker's.
  private let claim: BackfillClaim?

  /// What the positions table holds, of the partitions that are locked.
  private var positions: [TopicPartitionName: Int64] = [:]
  private var isRawTableLocked = false
  /// The days whose marks were read, and those of them whose raw rows retention has dropped.
  private var days = DayMarks()
  private var sums = RollupSums()
  /// What became of a backfill's records, but for those that the positions pass.
  private var counts: [TopicPartitionName: BackfillCounts] = [:]

  private struct DayMarks {
    var read: Set<Int32> = []
    var dropped: Set<Int32> = []
  }

  init(
    connection: Connection, schema: Schema, group: String, nowMicros: Int64, claim: BackfillClaim? = nil
  ) {
    self.connection = connection
    self.schema = schema
    self.group = group
    self.nowMicros = nowMicros
    self.claim = claim
  }

  /// Every transaction says how long it may wait; nothing is left to the session, which may be a pooler's. Nor is how its
  /// statements run: looking up the keys of a part is estimated so dear that the server would compile it, which takes
  /// longer than the look, and arrays of many rows would be written to a temporary file.
  static var settings: Statement {
    Statement(
      """
      SELECT set_config('lock_timeout', '\(BatchStore.lockTimeoutMs)', true),
        set_config('idle_in_transaction_session_timeout', '\(BatchStore.idleTimeoutMs)', true),
        set_config('jit', 'off', true), set_config('work_mem', '64MB', true)
      """, operation: "set the transaction's settings")
  }

  /// Writes the rows of a part that are new and, if it is the last one, moves the positions and commits; or writes
  /// nothing of the whole batch. Before the flight that ends with the COMMIT, and before dead letters are stored, it tells
  /// what became of the part; an error then keeps it from that.
  /// - Throws: `PostgresError`, `SchemaRefusesRows`, `BackfillTakenOver`, and what `beforeCommit` throws.
  func write(
    _ rows: inout RecentSplit, _ part: BatchPart, probeFirst: Bool,
    beforeCommit: (BatchSummary) throws -> Void
  ) throws -> WriteOutcome {
    let clock = ContinuousClock()
    let began = clock.now
    let batch = rows.batch

    try part.isFirst ? open(part, batch) : goOn(batch)
    switch PositionFence(part.advances, stored: positions) {
    case .asExpected: break
    case .alreadyMoved: return try giveBack(.alreadyCommitted)
    case .movedByOthers: return try giveBack(.fenced)
    }

    if !batch.keepsSources && !days.dropped.isDisjoint(with: batch.days) {
      return try giveBack(.recordsNeeded)
    }
    var late = rows.takeDropped(days.dropped)
    let expected = ExpectedGrains(batch: batch, rows: rows.candidates, windowFloorMicros: windowFloorMicros)
    var writer = RawRowWriter(connection: connection, schema: schema, batch: batch)
    do {
      try writer.store(rows.candidates, probeFirst: probeFirst)
    } catch is RecordsNeeded {
      return try giveBack(.recordsNeeded)
    }
    rows.stored = writer.stored
    rows.inTable = writer.duplicates
    late += writer.refused.map {
      batch.deadLetter(forRow: $0.row, reason: .rejectedByDatabase, detail: $0.detail)
    }
    let copied = clock.now

    sums.add(expected.grains(stored: rows.stored), of: batch)
    var summary = rows.summary(late)
    summary.refused = writer.refused.reduce(into: [:]) { $0[$1.error.sqlState?.code ?? "", default: 0] += 1 }
    summary.copySeconds = (copied - began).seconds
    summary.sumsBytes = sums.byteCount
    try beforeCommit(summary)
    count(summary, of: batch)
    try part.isLast ? close(part, letters: batch.deadLetters + late) : pause(batch)
    summary.commitSeconds = (clock.now - copied).seconds
    return part.isLast ? .committed(summary) : .appended(summary)
  }

  private func giveBack(_ outcome: WriteOutcome) throws(PostgresError) -> WriteOutcome {
    try connection.execute("ROLLBACK", operation: "roll back")
    return outcome
  }

  // MARK: Opening: locks and marks

  /// Begins the transaction, locks the positions and, where there are rows, the raw table: before the marks of dropped
  /// days are read, so that retention and ingest see one order. The table only: a day that no row is for may go
  /// meanwhile.
  private func open(_ part: BatchPart, _ batch: EventBatch) throws {
    var flight = [
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      Self.settings,
      Positions.lockStatement(schema, group: group, part.locks),
    ]
    if let claim { flight.append(claim.lockStatement(schema)) }
    let results = try connection.pipeline(flight + partStatements(batch))
    if let claim, results[3].rows.first?.int(0) != claim.run { throw BackfillTakenOver(job: claim.job) }
    positions = Positions.locked(results[2])
    takeMarks(results.dropFirst(flight.count))
  }

  /// Makes ready for the next part.
  private func goOn(_ batch: EventBatch) throws(PostgresError) {
    takeMarks(try connection.pipeline(partStatements(batch))[...])
  }

  /// What comes before the rows of a part. The marks of the days that they touch are the last result but the savepoint's.
  private func partStatements(_ batch: EventBatch) -> [Statement] {
    guard batch.count > 0 else { return [] }
    var statements: [Statement] = []
    if !isRawTableLocked { statements.append(Self.lockRawTable(schema)) }
    // Read once: nobody can drop a day while the table is locked.
    let unread = batch.days.filter { !days.read.contains($0) }
    if !unread.isEmpty { statements.append(Self.droppedDays(schema, of: unread)) }
    isRawTableLocked = true
    days.read.formUnion(unread)
    return statements + [Statement("SAVEPOINT raw", operation: "set a savepoint")]
  }

  private func takeMarks(_ results: ArraySlice<QueryResult>) {
    days.dropped.formUnion(results.flatMap(\.rows).map { Int32($0.int(0)) })
  }

  static func lockRawTable(_ schema: Schema) -> Statement {
    Statement("LOCK TABLE ONLY \(schema.rawTable) IN ROW EXCLUSIVE MODE", operation: "lock chat_telemetry")
  }

  static func droppedDays(_ schema: Schema, of days: [Int32]) -> Statement {
    var parameters = Parameters()
    parameters.array(of: .date, count: days.count)
    for day in days { parameters.element(day - postgresEpochDays) }
    return Statement(
      """
      SELECT day - date '1970-01-01' FROM \(schema.daysTable) WHERE day = ANY ($1) AND dropped_at IS NOT NULL
      """, parameters, operation: "read the marks of dropped days")
  }

  // MARK: Closing: everything that is left

  /// Ends a part that others follow: its dead letters must not pile up in memory.
  private func pause(_ batch: EventBatch) throws(PostgresError) {
    var flight = DeadLetterInsert(schema: schema).statements(batch.deadLetters)
    if batch.count > 0 { flight.append(Statement("RELEASE raw", operation: "release a savepoint")) }
    try connection.pipeline(flight)
  }

  private func close(_ part: BatchPart, letters: [DeadLetter]) throws(PostgresError) {
    let deltas = takeSums().finish()
    try SummaryDeltaCopy(connection: connection, schema: schema).append(deltas)
    var flight = DeadLetterInsert(schema: schema).statements(letters)
    if deltas.events > 0 {
      flight.append(Self.pending(schema, events: deltas.events, deltaRows: deltas.summaries.count))
    }
    flight.append(Positions.advanceStatement(schema, group: group, part.advances))
    if let claim { flight.append(claim.countStatement(schema, backfillCounts(part.advances))) }
    try RollupWriter(connection: connection, schema: schema)
      .write(deltas, after: flight, commit: Statement("COMMIT", operation: "commit a batch"))
  }

  private func takeSums() -> RollupSums {
    var taken = RollupSums()
    swap(&taken, &sums)
    return taken
  }

  static func pending(_ schema: Schema, events: Int, deltaRows: Int) -> Statement {
    var parameters = Parameters()
    parameters.append(Int64(events))
    parameters.append(Int64(deltaRows))
    return Statement(
      "INSERT INTO \(schema.pendingBatchesTable) (events, delta_rows) VALUES ($1, $2)", parameters,
      operation: "note what is pending")
  }

  private func count(_ summary: BatchSummary, of batch: EventBatch) {
    guard claim != nil else { return }
    for (index, partition) in batch.partitions.enumerated() {
      counts[partition, default: BackfillCounts()].stored += Int64(summary.stored[index])
      counts[partition, default: BackfillCounts()].duplicate += Int64(summary.duplicates[index])
    }
    for letter in batch.deadLetters + summary.lateDeadLetters {
      let partition = TopicPartitionName(topic: letter.topic, partition: letter.partition)
      counts[partition, default: BackfillCounts()].deadLetter += 1
    }
  }

  /// What became of the batch's records, for each partition that moves.
  private func backfillCounts(_ advances: [PositionAdvance]) -> [(TopicPartitionName, BackfillCounts)] {
    advances.map { advance in
      var counts = counts[advance.partition] ?? BackfillCounts()
      counts.duplicate += Int64(advance.passed.repeated)
      counts.skipped = Int64(advance.passed.skipped)
      counts.outOfRange = Int64(advance.passed.outOfRange)
      counts.missing = advance.passed.missing
      return (advance.partition, counts)
    }
  }

  private var windowFloorMicros: Int64 { Self.windowFloor(nowMicros: nowMicros) }

  /// Events older than the longest trailing window, and a day to spare, move no window.
  static func windowFloor(nowMicros: Int64) -> Int64 { nowMicros - 8 * 86_400_000_000 }
}

extension Duration {
  var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
