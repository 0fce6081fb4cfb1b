import Foundation
import Postgres
import Store
import Telemetry

/// What folding and refreshing cost when more and more events are stored.
struct RefreshRun {
  let surroundings: Surroundings
  let sizes: Sizes

  /// Measured so often at each size, each time with events pending anew.
  private static let repeats = 5
  private static let million = 1_000_000
  private static let batchEvents = 100_000
  /// As the threshold has it by default, and as a worker at its live edge commits them: 5 times a second.
  private static let pendingEvents = 10_000
  private static let pendingBatch = 1_000
  private static let pendingSpanSeconds = 2
  /// The views over the raw rows are measured at this size.
  private static let plainMillions = 5

  func run(into findings: inout Findings) throws {
    let database = try surroundings.makeDatabase()
    let history = try StoredHistory(database)
    var stored = 0
    for millions in Set(sizes.storedMillions).sorted() {
      for number in stored..<millions {
        Console.note("  storing million \(number + 1)")
        try history.store(try older(number), batchEvents: Self.batchEvents)
        _ = try history.summaries.fold()
      }
      stored = millions
      try history.tidy()
      // The first one fills the views, and the next one reads everything into memory.
      for _ in 0..<2 { _ = try measure(history, seed: UInt64(millions)) }
      let subject = Subject.refresh(millions: millions)
      for turn in 0..<Self.repeats {
        let (cpu, elapsed) = try measure(history, seed: UInt64(millions * 100 + turn))
        findings.add(1_000 * cpu, .refreshCPU, of: subject)
        findings.add(1_000 * elapsed, .refreshTime, of: subject)
      }
      say(subject, findings)
      if millions == Self.plainMillions {
        let cpu = try PlainViews(connection: history.connection).cpuSecondsOfRefresh(surroundings)
        findings.add(1_000 * cpu, .plainRefreshCPU, of: subject)
        // They have served; what follows needs no raw rows.
        try history.connection.execute("TRUNCATE chat_telemetry", operation: "drop the raw rows")
      }
    }
    try surroundings.drop(database)
  }

  /// A million events. The first are spread over the 8 days before now, so that every window is full from the
  /// beginning; each further million over the day before.
  private func older(_ millions: Int) throws -> EventSet {
    let seed = sizes.seed + UInt64(millions)
    if millions == 0 {
      return try EventSet(events: Self.million, spanSeconds: 8 * 86_400, seed: seed)
    }
    let start = Date().addingTimeInterval(-86_400 * Double(8 + millions))
    return try EventSet(
      events: Self.million, spanSeconds: 86_400, start: ISO8601DateFormatter().string(from: start),
      seed: seed)
  }

  /// CPU seconds of the backend, and seconds.
  private func measure(_ history: StoredHistory, seed: UInt64) throws -> (
    cpu: Double, elapsed: Double
  ) {
    let pending = try EventSet(
      events: Self.pendingEvents, spanSeconds: Self.pendingSpanSeconds, seed: 1_000_000 + seed)
    try history.store(pending, batchEvents: Self.pendingBatch)
    let backend = history.connection.backendPID
    let before = try ProcessUsage.exactCPUSeconds(ofSingleThread: backend)
    let clock = ContinuousClock()
    let began = clock.now
    let outcomes = try history.summaries.refresh(nil, cause: "manual")
    let elapsed = (clock.now - began).seconds
    let cpu = try ProcessUsage.exactCPUSeconds(ofSingleThread: backend) - before
    if let error = outcomes.compactMap(\.error).first {
      throw BenchFailure("refreshing failed: \(error)")
    }
    return (cpu, elapsed)
  }

  private func say(_ subject: Subject, _ findings: Findings) {
    let cost = findings[subject, .refreshCPU]?.text(digits: 1) ?? ""
    Console.note("  \(subject.name): \(cost) ms of Postgres CPU")
  }
}

/// Events stored by the worker's own store, without Kafka.
final class StoredHistory {
  let connection: Connection
  private let store: BatchStore
  let summaries: Summaries
  private static let partition = TopicPartitionName(topic: "bench", partition: 0)
  private var offset: Int64 = 0

  init(_ database: Database) throws {
    connection = try database.connect()
    store = BatchStore(
      connection: try database.connect(), options: database.options, schema: database.schema,
      group: "bench",
      recentKeys: 2, onHolderEnded: { _, _ in })
    summaries = Summaries(connection: connection, schema: database.schema)
    try store.positions.insertStarts([Self.partition: 0], clusterID: nil)
  }

  func store(_ events: EventSet, batchEvents: Int) throws {
    var builder = BatchBuilder()
    let batch = EventBatch(expectedEvents: batchEvents)
    for first in stride(from: 0, to: events.count, by: batchEvents) {
      let last = min(events.count, first + batchEvents)
      try builder.add(events, first..<last, to: batch)
      let advance = PositionAdvance(
        partition: Self.partition, from: offset, to: offset + Int64(last - first),
        lastRecordTimestampMs: nil)
      let now = Int64(Date().timeIntervalSince1970 * 1e6)
      guard case .committed = try store.write(batch, advances: [advance], nowMicros: now) else {
        throw BenchFailure("a batch of the stored history was refused")
      }
      offset = advance.to
      batch.removeAll()
    }
  }

  /// What the coordinator and autovacuum would have done in the meantime.
  func tidy() throws {
    try summaries.settleDaySketches()
    for command in ["VACUUM ANALYZE", "CHECKPOINT"] {
      try connection.execute(command, operation: "run \(command)")
    }
  }
}
