import Foundation
import Postgres
import Store
import TestSupport
import Testing

/// A migrated schema with a worker's writing part, and days long past: older than anything is kept, whatever the clock.
struct RetentionScene {
  let stage: Stage
  var database: TestDatabase { stage.database }
  private static let dayMs: Int64 = 86_400_000
  /// 2024-05-10T00:00:00Z.
  private static let firstMs: Int64 = 1_715_299_200_000

  init() throws { stage = try Stage() }
  init(of summary: SummaryStage) { stage = Stage(of: summary.database) }

  /// The day of that number, counted from 0.
  static func day(_ number: Int64) -> String {
    Date(timeIntervalSince1970: Double(firstMs + number * dayMs) / 1_000)
      .formatted(.iso8601.year().month().day())
  }

  /// Random events of the day of that number.
  func events(_ count: Int, day: Int64, seed: UInt64) -> [TestEvent] {
    stage.events(count, seed: seed).map { event in
      var event = event
      event.createdAtMs = Self.firstMs + day * Self.dayMs + event.createdAtMs % Self.dayMs
      return event
    }
  }

  func retention(options: ConnectionOptions? = nil) throws -> Retention {
    Retention(connection: try Connection(options ?? database.options), schema: database.schema)
  }

  /// As if all that is stored had been written so much earlier.
  func age(_ interval: String = "25 hours") throws {
    try database.rows(
      """
      UPDATE @.chat_telemetry_days SET created_at = created_at - interval '\(interval)';
      UPDATE @.chat_telemetry_rollups_hour SET updated_at = updated_at - interval '\(interval)'
      """)
  }

  /// The days that have a partition, tomorrow's left out.
  func partitions() throws -> [String] {
    try database.rows(
      """
      SELECT replace(right(inhrelid::regclass::text, 10), '_', '-') FROM pg_inherits
      WHERE inhparent = '@.chat_telemetry'::regclass ORDER BY 1
      """
    ).compactMap { $0[0] }.filter { $0 < "2025" }
  }

  /// Days, and how many raw, hour and day rows retention has dropped of each; what waits is `-`.
  func marks() throws -> [String] {
    try database.rows(
      """
      SELECT concat_ws(' ', day, CASE WHEN dropped_at IS NULL THEN '-' ELSE dropped_rows::text END,
        CASE WHEN hours_dropped_at IS NULL THEN '-' ELSE dropped_hour_rows::text END,
        CASE WHEN settled_at IS NULL THEN '-' ELSE dropped_day_rows::text END)
      FROM @.chat_telemetry_days WHERE day < '2025-01-01' ORDER BY day
      """
    ).compactMap { $0[0] }
  }

  /// Events that came after their day was dropped, and the payloads kept of them.
  func late() throws -> [[String?]] {
    try database.rows(
      """
      SELECT d.day, d.late_events, count(l.id), count(l.payload) FROM @.chat_telemetry_days AS d
      JOIN @.chat_telemetry_dead_letters AS l ON l.event_day = d.day AND l.reason = 'before_retention'
      GROUP BY d.day ORDER BY d.day
      """)
  }

  /// Fails with the error of a step that found a lock taken.
  func expectDelay(
    _ step: () throws -> DroppedPart?, _ location: SourceLocation = #_sourceLocation
  ) throws {
    let error = try #require(throws: PostgresError.self, sourceLocation: location) { try step() }
    #expect(error.sqlState == .lockNotAvailable, sourceLocation: location)
  }
}
