import Foundation
import Kafka
import Postgres
import TestSupport

/// How long an event takes from being produced to being seen by a reader, at a steady rate.
struct FreshnessRun {
  let surroundings: Surroundings
  let sizes: Sizes

  /// Seconds of each event, in the order in which they became visible.
  struct Outcome {
    var rollups: [Double]
    var views: [Double]
  }

  /// A reader's look: how many events it saw, and when it had the answer.
  struct Look {
    var at: ContinuousClock.Instant
    var events: Int
  }

  private static let topic = "bench-freshness"
  private static let partitions = 8
  private static let pace = Duration.milliseconds(3)
  /// The views are looked at in every so many looks.
  private static let looksPerView = 10
  /// The views follow at the latest one least interval between refreshes after the last event.
  private static let patience = Duration.seconds(15)

  func run() async throws -> Outcome {
    let count = sizes.freshnessRate * sizes.freshnessSeconds
    let events = try EventSet(events: count, spanSeconds: sizes.freshnessSeconds, seed: sizes.seed)
    try surroundings.cluster.createTopic(Self.topic, partitions: Self.partitions)
    let database = try surroundings.makeDatabase()
    let connection = try database.connect()
    let worker = try surroundings.startWorker(database, topic: Self.topic, group: "freshness")
    try await database.untilAtWork(connection)
    let producing = produce(events, rate: sizes.freshnessRate)
    var looks: (rollups: [Look], views: [Look]) = ([], [])
    let clock = ContinuousClock()
    var deadline: ContinuousClock.Instant?
    while (looks.views.last?.events ?? 0) < count {
      looks.rollups.append(try look(connection, Self.rollups))
      if looks.rollups.count.isMultiple(of: Self.looksPerView) {
        looks.views.append(try look(connection, Self.views))
      }
      guard !worker.hasEnded else {
        throw BenchFailure("the worker ended: \(worker.errors.suffix(2_000))")
      }
      if deadline == nil && looks.rollups.last?.events == count {
        deadline = clock.now + Self.patience
      }
      if let deadline, clock.now > deadline { break }
      try await Task.sleep(for: Self.pace)
    }
    let produced = try await producing.value
    try await surroundings.stop(worker)
    try database.check(connection, events: count, areRolledUp: true)
    try surroundings.drop(database)
    return Outcome(
      rollups: Self.latencies(produced: produced, looks: looks.rollups),
      views: Self.latencies(produced: produced, looks: looks.views))
  }

  /// The k-th event counts as seen at the first look that saw k of them. Those that no look saw are left out.
  static func latencies(produced: [ContinuousClock.Instant], looks: [Look]) -> [Double] {
    var latencies: [Double] = []
    for look in looks where look.events > latencies.count {
      for event in latencies.count..<min(look.events, produced.count) {
        latencies.append((look.at - produced[event]).seconds)
      }
    }
    return latencies
  }

  private static let rollups =
    "SELECT coalesce(sum(total_requests), 0)::bigint FROM chat_telemetry_rollups WHERE granularity = 'hour'"
  /// Every event has a model.
  private static let views =
    "SELECT coalesce(sum(total_uses), 0)::bigint FROM chat_telemetry_model_summary"

  private func look(_ connection: Connection, _ sql: String) throws -> Look {
    let events = Int(try connection.query(sql, operation: "look what is visible").rows[0].int(0))
    return Look(at: ContinuousClock().now, events: events)
  }

  /// Produces at the rate, on a thread of its own; tells when each event was handed over.
  private func produce(_ events: EventSet, rate: Int) -> Background<[ContinuousClock.Instant]> {
    let brokers = surroundings.cluster.bootstrapServers
    return Background {
      let producer = try Producer(
        brokers: brokers,
        properties: KafkaProperties(["compression.type": "lz4", "linger.ms": "5"]))
      let clock = ContinuousClock()
      let began = clock.now
      var produced: [ContinuousClock.Instant] = []
      produced.reserveCapacity(events.count)
      try events.forEachRecord(0..<events.count) { id, value in
        let due = began + .nanoseconds(Int64(produced.count) * 1_000_000_000 / Int64(rate))
        // A sleep may last longer than asked for; whoever is late sends at once.
        while clock.now < due { usleep(500) }
        produced.append(clock.now)
        try producer.produce(topic: Self.topic, key: id, value: value)
      }
      try producer.flush(timeoutMs: 60_000)
      return produced
    }
  }
}

extension FreshnessRun.Outcome {
  func record(in findings: inout Findings) {
    findings.add(1_000 * Spread.percentile(50, of: rollups), .rollupMedian, of: .freshness)
    findings.add(1_000 * Spread.percentile(99, of: rollups), .rollupTail, of: .freshness)
    guard !views.isEmpty else { return }
    findings.add(Spread.percentile(50, of: views), .viewMedian, of: .freshness)
    findings.add(Spread.percentile(99, of: views), .viewTail, of: .freshness)
  }
}

extension Database {
  /// Waits until a worker has its partitions, and its coordinator has filled the views for the first time.
  func untilAtWork(_ connection: Connection) async throws {
    try await eventually("a worker is at work") {
      let row = try connection.query(
        """
        SELECT EXISTS (SELECT FROM chat_telemetry_offsets)
          AND (SELECT bool_and(relispopulated) FROM pg_class WHERE relname LIKE 'chat\\_telemetry\\_%\\_summary')
        """, operation: "see whether the worker is at work"
      ).rows[0]
      return row.bool(0)
    }
  }
}
