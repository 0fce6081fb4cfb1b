import Postgres
import Telemetry

/// The one transaction in which a page of dead letters is stored and resolved.
///
/// Its statements stand in the order of those of `IngestTransaction` (raw rows, deltas, dead letters, rollups), so that
/// the two cannot deadlock.
struct RetryTransaction {
  let store: BatchStore
  let page: RetryPage
  let nowMicros: Int64

  private var connection: Connection { store.connection }
  private var schema: Schema { store.schema }
  private var batch: EventBatch { page.batch }

  /// What became of the page's letters, in their order; nil, and nothing is written, when one of them waits no more.
  func run(dryRun: Bool) throws -> [RetryOutcome]? {
    let opened = try connection.pipeline(opening(dryRun: dryRun))
    guard opened[2].rows.count == page.letters.count else {
      try connection.execute("ROLLBACK", operation: "roll back")
      return nil
    }

    var rows = RecentSplit(batch, RecentKeys(generationSize: 1))
    var refused: [DeadLetter] = []
    if batch.count > 0 {
      let dropped = opened[opened.count - 2].rows.map { Int32($0.int(0)) }
      refused = rows.takeDropped(Set(dropped))
      var writer = RawRowWriter(connection: connection, schema: schema, batch: batch)
      try writer.store(rows.candidates, probeFirst: false)
      rows.stored = writer.stored
      rows.inTable = writer.duplicates
      refused += writer.refused.map {
        batch.deadLetter(forRow: $0.row, reason: .rejectedByDatabase, detail: $0.detail)
      }
    }
    let outcomes = outcomes(rows, refused)
    if dryRun {
      try connection.execute("ROLLBACK", operation: "roll back a dry run")
    } else {
      try close(stored: rows.stored, outcomes)
    }
    return outcomes
  }

  /// Locks the letters, in the order of their ids for everybody, and what the ingest transaction locks. The marks of
  /// dropped days are the last result but one.
  private func opening(dryRun: Bool) -> [Statement] {
    var flight = [
      Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
      IngestTransaction.settings, lockLetters,
    ]
    guard batch.count > 0 else { return flight }
    // Otherwise they are there; these go with the dry run.
    if dryRun { flight.append(store.ensureDaysStatement(batch.days)) }
    flight.append(IngestTransaction.lockRawTable(schema))
    flight.append(IngestTransaction.droppedDays(schema, of: batch.days))
    flight.append(Statement("SAVEPOINT raw", operation: "set a savepoint"))
    return flight
  }

  private var lockLetters: Statement {
    var parameters = Parameters()
    parameters.array(of: .int8, count: page.letters.count)
    for letter in page.letters { parameters.element(letter.id) }
    return Statement(
      """
      SELECT id FROM \(schema.deadLettersTable) WHERE id = ANY ($1) AND resolved_at IS NULL ORDER BY id FOR UPDATE
      """, parameters, operation: "lock the dead letters")
  }

  /// Of two letters of one event the first is the one that brought it.
  private func outcomes(_ rows: RecentSplit, _ refused: [DeadLetter]) -> [RetryOutcome] {
    let failures = Dictionary(
      uniqueKeysWithValues: refused.map {
        let coordinates = RecordCoordinates(topic: $0.topic, partition: $0.partition, offset: $0.offset)
        return (RecordIdentity(coordinates: coordinates, timestampMs: $0.timestampMs), $0)
      })
    var unclaimed = Set(rows.stored)
    return page.letters.indices.map { place in
      if let judged = page.judged[place] { return judged }
      guard let row = page.rows[place] else { preconditionFailure("a letter that was not judged has a row") }
      if let failure = failures[identity(ofRow: row)] {
        return .failed(failure.reason, detail: failure.detail)
      }
      return unclaimed.remove(row) == nil ? .duplicate : .stored
    }
  }

  /// What tells records apart: coordinates come again in a topic that was deleted and made anew.
  private struct RecordIdentity: Hashable {
    var coordinates: RecordCoordinates
    /// Nil for a record without a time.
    var timestampMs: Int64?
  }

  private func identity(ofRow row: Int) -> RecordIdentity {
    let source = batch.source(row)
    let partition = batch.partitions[Int(source.partitionIndex)]
    return RecordIdentity(
      coordinates: RecordCoordinates(
        topic: partition.topic, partition: partition.partition, offset: source.offset),
      timestampMs: source.timestampMs < 0 ? nil : source.timestampMs)
  }

  private func close(stored: [Int], _ outcomes: [RetryOutcome]) throws(PostgresError) {
    let deltas = RollupDeltas(
      batch: batch, rows: stored, windowFloorMicros: IngestTransaction.windowFloor(nowMicros: nowMicros))
    try SummaryDeltaCopy(connection: connection, schema: schema).append(deltas)
    var flight = [resolve(outcomes), noteFailures(outcomes)].compactMap { $0 }
    if !stored.isEmpty {
      flight.append(
        IngestTransaction.pending(schema, events: stored.count, deltaRows: deltas.summaries.count))
    }
    try RollupWriter(connection: connection, schema: schema)
      .write(deltas, after: flight, commit: Statement("COMMIT", operation: "commit retried dead letters"))
  }

  private func resolve(_ outcomes: [RetryOutcome]) -> Statement? {
    let ids = zip(page.letters, outcomes).filter { $0.1 == .stored || $0.1 == .duplicate }.map(\.0.id)
    guard !ids.isEmpty else { return nil }
    var parameters = Parameters()
    parameters.array(of: .int8, count: ids.count)
    for id in ids { parameters.element(id) }
    return Statement(
      "UPDATE \(schema.deadLettersTable) SET resolved_at = now(), resolution = 'retried' WHERE id = ANY ($1)",
      parameters, operation: "resolve dead letters")
  }

  /// Writes to the letters that failed again why they did.
  private func noteFailures(_ outcomes: [RetryOutcome]) -> Statement? {
    var failed: [(id: Int64, reason: RejectionReason, detail: String, day: Int32?)] = []
    for (place, outcome) in outcomes.enumerated() {
      guard case .failed(let reason, let detail) = outcome else { continue }
      var day: Int32?
      if reason == .beforeRetention, let row = page.rows[place] {
        day = UTCBucket.day(ofMicros: batch.key(row).createdAt)
      }
      failed.append((page.letters[place].id, reason, detail, day))
    }
    guard !failed.isEmpty else { return nil }
    var parameters = Parameters()
    parameters.array(of: .int8, count: failed.count)
    for each in failed { parameters.element(each.id) }
    parameters.array(of: .text, count: failed.count)
    for each in failed { parameters.element(each.reason.rawValue) }
    parameters.array(of: .text, count: failed.count)
    for each in failed { parameters.element(each.detail) }
    parameters.array(of: .date, count: failed.count)
    for each in failed { parameters.element(each.day.map { $0 - postgresEpochDays }) }
    return Statement(
      """
      UPDATE \(schema.deadLettersTable) AS d SET reason = u.reason, detail = u.detail, event_day = u.event_day
      FROM unnest($1, $2, $3, $4) AS u (id, reason, detail, event_day) WHERE d.id = u.id
      """, parameters, operation: "note why dead letters failed again")
  }
}
