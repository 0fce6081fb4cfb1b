import Coordinator
import Logging
import Monitoring
import Postgres
import Store
import TestSupport

/// A migrated schema, events for it, and coordinators that look every few milliseconds.
struct CoordinatorStage {
  let database: TestDatabase
  let store: EventStore
  init(on server: PrivateServer? = nil) throws {
    database = try TestDatabase(on: server)
    store = try EventStore(database)
  }

  /// By events alone, as often as wanted.
  static func trigger(afterEvents: Int64 = 0, minInterval: Int64 = 0) -> RefreshTrigger {
    var trigger = RefreshTrigger(schedule: nil, afterEvents: afterEvents, minInterval: minInterval)
    trigger.retryAfter = 50_000
    return trigger
  }

  /// Keeps all.
  static let keepAll = RetentionSettings(
    rawDays: 0, hourDays: 0, dayDays: 0, deadLetterDays: 0, refreshLogDays: 0)

  func settings(
    _ trigger: RefreshTrigger, holder: String = "replica", retention: RetentionSettings = keepAll
  ) -> CoordinatorSettings {
    CoordinatorSettings(
      connection: database.options, schema: database.schema, trigger: trigger, retention: retention,
      holder: holder, pace: .milliseconds(10))
  }

  func write(_ count: Int, seed: UInt64) throws { try Self.write(count, seed: seed, to: store) }

  static func write(_ count: Int, seed: UInt64, to store: EventStore) throws {
    let nowMs = try store.database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    var random = SeededGenerator(seed: seed)
    try store.write((0..<count).map { _ in TestEvent.random(&random, nowMs: nowMs) })
  }

  /// The refreshes so far, as trigger, view and whether they succeeded.
  func log(_ filter: String = "true") throws -> [String] {
    try database.rows(
      """
      SELECT concat_ws(' ', trigger, CASE view_name WHEN 'chat_telemetry_domain_summary' THEN 'domains'
        ELSE 'models' END, CASE status WHEN 'SUCCESS' THEN 'ok' ELSE 'failed' END)
      FROM @.chat_telemetry_refresh_log WHERE \(filter) ORDER BY id
      """
    ).compactMap { $0[0] }
  }

  /// Waits until so many refreshes are logged.
  func logged(_ count: Int) async throws {
    try await eventually("\(count) refreshes are logged") { try log().count >= count }
  }

  var holder: String? {
    get throws { try database.rows("SELECT holder FROM @.chat_telemetry_lease").first?[0] }
  }

  /// Waits until the holder of the lease has looked at everything several times from now on.
  func looked() async throws {
    for _ in 0..<3 {
      let before = try database.rows("SELECT renewed_at FROM @.chat_telemetry_lease")
      try await eventually("the lease is renewed") {
        try database.rows("SELECT renewed_at FROM @.chat_telemetry_lease") != before
      }
    }
  }

  /// Runs a coordinator while `body` runs, and stops it cleanly.
  @discardableResult
  func whileCoordinating<Value>(
    _ settings: CoordinatorSettings, _ body: (RunningCoordinator) async throws -> Value
  ) async throws -> Value {
    let coordinator = RunningCoordinator(settings)
    let result: Result<Value, any Error>
    do { result = .success(try await body(coordinator)) } catch { result = .failure(error) }
    await coordinator.stop()
    return try result.get()
  }
}

/// A coordinator at work, and what it shows.
struct RunningCoordinator: Sendable {
  let metrics = WorkerMetrics(version: "test")
  let health = HealthState(awaiting: ["coordinator"])
  private let running: Task<Void, Never>

  init(_ settings: CoordinatorSettings) {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let coordinator = Coordinator(
      settings: settings, observer: Observer(metrics: metrics, logger: logger), health: health)
    running = Task { await coordinator.run() }
  }

  func stop() async {
    running.cancel()
    await running.value
  }

  var leads: Bool { metrics.refresh.coordinatorLeader.value == 1 }
}
