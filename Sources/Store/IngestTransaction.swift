import Postgres
import Telemetry

/// The one transaction of a batch, from the fence to the COMMIT.
struct IngestTransaction {
  let connection: Connection
  let schema: Schema
  let group: String
  let batch: EventBatch
  let advances: [PositionAdvance]
  let nowMicros: Int64

  /// Every transaction says how long it may wait; nothing is left to the session, which may be a pooler's.
  static var timeouts: Statement {
    Statement(
      """
      SELECT set_config('lock_timeout', '\(BatchStore.lockTimeoutMs)', true),
        set_config('idle_in_transaction_session_timeout', '\(BatchStore.idleTimeoutMs)', true)
      """, operation: "set the transaction's timeouts")
  }

  /// Writes the rows that are new and moves the positions, or writes nothing. Before the last flight, which ends with
  /// the COMMIT, it tells what is going to be committed; an error then keeps it from that.
  func run(
    _ rows: inout RecentSplit, probeFirst: Bool, beforeCommit: (BatchSummary) throws -> Void
  ) throws -> WriteOutcome {
    let clock = ContinuousClock()
    let began = clock.now

    let opened = try open()
    switch fence(opened.positions) {
    case .asExpected: break
    case .alreadyMoved:
      try connection.execute("ROLLBACK", operation: "roll back")
      return .alreadyCommitted
    case .movedByOthers:
      try connection.execute("ROLLBACK", operation: "roll back")
      return .fenced
    }

    if !batch.keepsSources && !opened.droppedDays.isEmpty { return try giveBack() }
    var late = takeDropped(opened.droppedDays, &rows)
    let expected = ExpectedDeltas(batch: batch, rows: rows.candidates, windowFloorMicros: windowFloorMicros)
    var writer = RawRowWriter(connection: connection, schema: schema, batch: batch)
    do {
      try writer.store(rows.candidates, probeFirst: probeFirst)
    } catch is RecordsNeeded {
      return try giveBack()
    }
    rows.stored = writer.stored
    rows.inTable = writer.duplicates
    late += writer.refused.map {
      batch.deadLetter(forRow: $0.row, reason: .rejectedByDatabase, detail: $0.detail)
    }
    let copied = clock.now

    let deltas = expected.deltas(stored: rows.stored)
    try SummaryDeltaCopy(connection: connection, schema: schema, batch: batch).append(deltas)
    var summary = summary(rows, late)
    summary.refused = writer.refused.reduce(into: [:]) { $0[$1.error.sqlState?.code ?? "", default: 0] += 1 }
    summary.copySeconds = (copied - began).seconds
    try beforeCommit(summary)
    try close(deltas, stored: rows.stored.count, late: late)
    summary.commitSeconds = (clock.now - copied).seconds
    return .committed(summary)
  }

  private func giveBack() throws(PostgresError) -> WriteOutcome {
    try connection.execute("ROLLBACK", operation: "roll back")
    return .recordsNeeded
  }

  // MARK: Opening: fence, locks, marks

  private struct Opened {
    var positions: [TopicPartitionName: Int64]
    var droppedDays: Set<Int32>
  }

  /// Begins the transaction, locks the positions and, where there are rows, the raw table: before the marks of dropped
  /// days are read, so that retention and ingest see one order.
  private func open() throws(PostgresError) -> Opened {
    var flight = [
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      Self.timeouts,
      Positions.lockStatement(schema, group: group, advances),
    ]
    if batch.count > 0 {
      flight.append(
        Statement(
          "LOCK TABLE \(schema.rawTable) IN ROW EXCLUSIVE MODE", operation: "lock chat_telemetry"))
      flight.append(droppedDaysStatement)
      flight.append(Statement("SAVEPOINT raw", operation: "set a savepoint"))
    }
    let results = try connection.pipeline(flight)
    var positions: [TopicPartitionName: Int64] = [:]
    for row in results[2].rows {
      positions[TopicPartitionName(topic: row.text(0), partition: Int32(row.int(1)))] = row.int(2)
    }
    let dropped = batch.count > 0 ? results[4].rows.map { Int32($0.int(0)) } : []
    return Opened(positions: positions, droppedDays: Set(dropped))
  }

  var droppedDaysStatement: Statement {
    var parameters = Parameters()
    parameters.array(of: .date, count: batch.days.count)
    for day in batch.days { parameters.element(day - postgresEpochDays) }
    return Statement(
      """
      SELECT day - date '1970-01-01' FROM \(schema.daysTable) WHERE day = ANY ($1) AND dropped_at IS NOT NULL
      """, parameters, operation: "read the marks of dropped days")
  }

  private enum Fence { case asExpected, alreadyMoved, movedByOthers }

  private func fence(_ positions: [TopicPartitionName: Int64]) -> Fence {
    if advances.allSatisfy({ positions[$0.partition] == $0.from }) { return .asExpected }
    if advances.allSatisfy({ positions[$0.partition] == $0.to }) { return .alreadyMoved }
    return .movedByOthers
  }

  /// Takes the rows of dropped days out of the candidates: a repeat could not be told from a new event.
  func takeDropped(_ days: Set<Int32>, _ rows: inout RecentSplit) -> [DeadLetter] {
    guard !days.isEmpty else { return [] }
    let isDropped = { (row: Int) in days.contains(UTCBucket.day(ofMicros: batch.key(row).createdAt)) }
    let taken = rows.candidates.filter(isDropped)
    rows.candidates.removeAll(where: isDropped)
    return taken.map { row in
      let day = UTCBucket.day(ofMicros: batch.key(row).createdAt)
      return batch.deadLetter(
        forRow: row, reason: .beforeRetention,
        detail: "the raw rows of \(UTCBucket.date(day)) were dropped by retention")
    }
  }

  // MARK: Closing: everything that is left, in one flight

  private func close(_ deltas: RollupDeltas, stored: Int, late: [DeadLetter]) throws(PostgresError) {
    var flight = DeadLetterInsert(schema: schema).statements(batch.deadLetters + late)
    if stored > 0 {
      flight.append(pendingStatement(events: stored, deltaRows: deltas.summaries.count))
    }
    flight.append(Positions.advanceStatement(schema, group: group, advances))
    if stored > 0 {
      flight += RollupUpserts(schema: schema, batch: batch).statements(deltas)
    }
    flight.append(Statement("COMMIT", operation: "commit a batch"))
    try connection.pipeline(flight)
  }

  func pendingStatement(events: Int, deltaRows: Int) -> Statement {
    var parameters = Parameters()
    parameters.append(Int64(events))
    parameters.append(Int64(deltaRows))
    return Statement(
      "INSERT INTO \(schema.pendingBatchesTable) (events, delta_rows) VALUES ($1, $2)", parameters,
      operation: "note what is pending")
  }

  /// Events older than the longest trailing window, and a day to spare, move no window.
  var windowFloorMicros: Int64 { nowMicros - 8 * 86_400_000_000 }

  private func summary(_ rows: RecentSplit, _ late: [DeadLetter]) -> BatchSummary {
    func count(_ rows: [Int]) -> [Int] {
      var counts = [Int](repeating: 0, count: batch.partitions.count)
      for row in rows { counts[Int(batch.source(row).partitionIndex)] += 1 }
      return counts
    }
    return BatchSummary(
      stored: count(rows.stored), duplicates: count(rows.recent + rows.inTable), lateDeadLetters: late,
      refused: [:], eventTimes: rows.stored.map { batch.key($0).createdAt }, copySeconds: 0, commitSeconds: 0)
  }
}

extension Duration {
  var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}
