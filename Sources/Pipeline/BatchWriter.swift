import Logging
import Monitoring
import Postgres
import Store
import Telemetry
import Threads

/// Where and how batches are written.
public struct DatabaseSettings: Sendable {
  public var connection: ConnectionOptions
  public var schema: Schema
  /// The consumer group, under whose name the positions are kept.
  public var group: String
  /// Committed keys that are remembered, in events.
  public var recentKeys: Int
  /// The backfill that the batches belong to; nil for a live worker.
  var claim: BackfillClaim?

  public init(connection: ConnectionOptions, schema: Schema, group: String, recentKeys: Int) {
    self.connection = connection
    self.schema = schema
    self.group = group
    self.recentKeys = recentKeys
  }
}

/// Writes batches on a thread of its own, one at a time, and does not give up: a database that is away, read-only,
/// full, locked or restarting costs time and nothing else.
///
/// Cancelling the task that calls it ends the tries after the current one.
actor BatchWriter {
  /// For the tasks that hand it work, too.
  nonisolated let executor = ThreadExecutor(name: "batch-writer")
  nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  private let settings: DatabaseSettings
  private let observer: Observer
  private let health: HealthState
  private let retries = RetryPolicy()
  private var store: BatchStore?
  /// Nil where dead letters are kept in their table only.
  private let deadLetters: DeadLetterTopic?
  private var isSchemaChecked = false

  init(
    settings: DatabaseSettings, deadLetters: DeadLetterTopicSettings? = nil, observer: Observer,
    health: HealthState
  ) {
    self.settings = settings
    self.deadLetters = deadLetters.map {
      DeadLetterTopic(settings: $0) { [logger = observer.logger] in logger.logKafka($0, $1, $2) }
    }
    self.observer = observer
    self.health = health
  }

  /// What became of a batch, as the loop needs to know it.
  enum Outcome: Sendable {
    case written(WriteOutcome)
    /// The task was cancelled while the database failed. The batch may be committed or not.
    case abandoned
  }

  /// Writes a part of a batch. Tries again for as long as the environment is at fault; but earlier parts, which are not
  /// in memory any more, are not written again.
  /// - Throws: `SchemaRefusesRows`, `BackfillTakenOver`; as every call on the first connection, `SchemaNotMigrated` and `MigrationError`.
  func write(_ batch: IngestBatch) async throws -> Outcome {
    var attempted: BatchSummary?
    let outcome = try await untilItWorks("store a batch") { store in
      defer { attempted = store.lastAttempt ?? attempted }
      // Before the positions move. Those that the transaction finds come before its COMMIT.
      try copy(batch.events.deadLetters)
      return try store.write(
        batch.events, batch.part, nowMicros: WallClock.now(), beforeCommit: copy)
    }
    finishCopies(outcome)
    // A COMMIT whose reply was lost: what it stored is counted all the same.
    if case .alreadyCommitted = outcome, let attempted { return .written(.committed(attempted)) }
    guard let outcome else { return .abandoned }
    // Whoever moved the positions may have stored events that the memory of committed keys says nothing of, and the
    // other way round: start afresh.
    if case .fenced = outcome { store = nil }
    return .written(outcome)
  }

  /// Rolls back a batch whose other parts will not come.
  func giveUp() {
    do throws(PostgresError) { try store?.giveUp() } catch { store = nil }
  }

  /// The stored positions of topics; nil when cancelled.
  func loadPositions(topics: [String]) async throws -> [TopicPartitionName: StoredPosition]? {
    store = nil
    return try await untilItWorks("read the positions") { store in
      try store.positions.load(topics: topics)
    }
  }

  /// Inserts first positions where there are none, and reads all back; nil when cancelled.
  func insertStarts(
    _ starts: [TopicPartitionName: Int64], clusterID: String?, topics: [String]
  ) async throws -> [TopicPartitionName: StoredPosition]? {
    try await untilItWorks("insert the first positions") { store in
      try store.positions.insertStarts(starts, clusterID: clusterID)
      return try store.positions.load(topics: topics)
    }
  }

  /// Copies dead letters to their topic, where there is one.
  private func copy(_ letters: [DeadLetter]) throws(UndeliveredLetters) {
    guard let deadLetters, !letters.isEmpty else { return }
    let copied = try deadLetters.copy(letters)
    if copied > 0 { observer.emit(IngestEvent.deadLettersCopied(count: copied)) }
    health.report(Self.deadLetterTopicCondition, .ok)
  }

  /// A batch that is done, or given up, makes nobody wait for its dead letters any more. Records that are read again come
  /// again, and what was copied of them is not copied again.
  private func finishCopies(_ outcome: WriteOutcome?) {
    guard let deadLetters else { return }
    health.report(Self.deadLetterTopicCondition, .ok)
    switch outcome {
    case .recordsNeeded, .partsLost, .appended: return
    case .committed, .alreadyCommitted, .fenced, nil: deadLetters.forget()
    }
  }

  private static let deadLetterTopicCondition = "dead_letters.topic"

  // MARK: Trying again

  private func untilItWorks<Value>(
    _ doing: String, _ work: (BatchStore) throws -> Value
  ) async throws -> Value? {
    let clock = ContinuousClock()
    let began = clock.now
    var failures = 0
    var undelivered = 0
    while !Task.isCancelled {
      do {
        let value = try work(connected())
        if failures > 0 {
          health.report("postgres", .ok)
          observer.emit(
            DatabaseEvent.recovered(
              doing: doing, attempts: failures, seconds: (clock.now - began).inSeconds))
        }
        return value
      } catch let error as PostgresError {
        failures += 1
        let delay = retries.delayMs(failures: failures, random: .random(in: 0..<1))
        report(error, retryInMs: delay)
        try? await Task.sleep(for: .milliseconds(delay))
      } catch let error as UndeliveredLetters {
        undelivered += 1
        let delay = retries.delayMs(failures: undelivered, random: .random(in: 0..<1))
        health.report(Self.deadLetterTopicCondition, .notReady(error.description))
        observer.emit(
          IngestEvent.deadLettersNotCopied(
            count: error.count, topic: error.topic, reason: "\(error.cause)",
            retryInSeconds: Double(delay) / 1_000))
        try? await Task.sleep(for: .milliseconds(delay))
      }
    }
    return nil
  }

  private func connected() throws -> BatchStore {
    if let store { return store }
    let connection = try Connection(settings.connection)
    if !isSchemaChecked {
      try settings.schema.refuseUnlessMigrated(connection)
      isSchemaChecked = true
    }
    let made = BatchStore(
      connection: connection, options: settings.connection, schema: settings.schema, group: settings.group,
      recentKeys: settings.recentKeys, claim: settings.claim,
      onHolderEnded: { [observer] pid, heldSeconds in
        observer.emit(DatabaseEvent.blockerEnded(pid: Int(pid), heldSeconds: heldSeconds))
      })
    store = made
    health.report("postgres", .ok)
    return made
  }

  private func report(_ error: PostgresError, retryInMs delay: Int64) {
    // A server that turned read-only may have a new primary elsewhere: connecting again finds it.
    if error.connectionLost || error.sqlState == .readOnlyTransaction { store = nil }
    health.report("postgres", .notReady(error.description))
    observer.emit(
      DatabaseEvent.failed(
        sqlstate: error.sqlState?.code, action: error.isEnvironment ? .retry : .pause, doing: error.operation,
        message: error.description, retryInSeconds: Double(delay) / 1_000))
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
