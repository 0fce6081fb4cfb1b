import Postgres

/// Where the tables are. Every statement names its tables with their schema: nothing depends on `search_path`, which a
/// connection pooler in transaction mode would not keep.
public struct Schema: Sendable, Equatable {
  public enum Failure: Error, Equatable, CustomStringConvertible {
    case invalidName(String)

    public var description: String {
      switch self {
      case .invalidName(let name):
        "postgres.schema is \"\(name)\": expected a lower-case letter or _, then up to 62 of a-z, 0-9 and _"
      }
    }
  }

  /// The bare name; safe to quote as it is.
  public let name: String

  public init(_ name: String = "public") throws(Failure) {
    let bytes = Array(name.utf8)
    let isLetter = { (byte: UInt8) in (97...122).contains(byte) || byte == 95 }
    let isDigit = { (byte: UInt8) in (48...57).contains(byte) }
    guard let first = bytes.first, bytes.count <= 63, isLetter(first),
      bytes.allSatisfy({ isLetter($0) || isDigit($0) })
    else { throw .invalidName(name) }
    self.name = name
  }

  /// The quoted name, as it stands in SQL.
  public var quoted: String { "\"\(name)\"" }

  public var rawTable: String { table("chat_telemetry") }
  public var offsetsTable: String { table("chat_telemetry_offsets") }
  public var deadLettersTable: String { table("chat_telemetry_dead_letters") }
  public var daysTable: String { table("chat_telemetry_days") }
  public var summaryDeltasTable: String { table("chat_telemetry_summary_deltas") }
  public var sketchDeltasTable: String { table("chat_telemetry_sketch_deltas") }
  public var windowDeltasTable: String { table("chat_telemetry_window_deltas") }
  public var pendingBatchesTable: String { table("chat_telemetry_pending_batches") }
  public var backfillJobsTable: String { table("chat_telemetry_backfill_jobs") }
  public var backfillPartitionsTable: String { table("chat_telemetry_backfill_partitions") }
  var dayModelRollupsTable: String { table("chat_telemetry_model_rollups_day") }
  var daySketchDeltasTable: String { table("chat_telemetry_day_sketch_deltas") }
  var settledRollupsTable: String { table("chat_telemetry_settled_rollups") }
  var totalsTable: String { table("chat_telemetry_totals") }
  var sketchesTable: String { table("chat_telemetry_sketches") }
  var windowDaysTable: String { table("chat_telemetry_window_days") }
  var windowHoursTable: String { table("chat_telemetry_window_hours") }
  var foldStateTable: String { table("chat_telemetry_fold_state") }
  public var migrationsTable: String { table("chat_telemetry_migrations") }

  /// A table, view or function of this schema.
  public func table(_ bare: String) -> String { "\(quoted).\(bare)" }

  /// The migrations that this program holds, for this schema.
  public var migrationRunner: MigrationRunner {
    MigrationRunner(
      table: migrationsTable, guardedTable: rawTable,
      migrations: Self.embedded.map { version, name, bytes in
        let text = String(decoding: bytes, as: UTF8.self)
        return Migration(
          version: version, name: name, sql: text.replacing("@schema@", with: quoted))
      })
  }

  private static let embedded: [(Int, String, [UInt8])] = [
    (1, "raw_and_rollups", PackageResources.migration_0001_raw_and_rollups_sql),
    (2, "summary_state", PackageResources.migration_0002_summary_state_sql),
    (3, "fold", PackageResources.migration_0003_fold_sql),
    (4, "summary_views", PackageResources.migration_0004_summary_views_sql),
    (5, "backfill", PackageResources.migration_0005_backfill_sql),
    (6, "retention", PackageResources.migration_0006_retention_sql),
  ]
}
