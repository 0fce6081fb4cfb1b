import Postgres

/// What a verification found.
public struct VerificationReport: Encodable, Equatable, Sendable {
  /// A key column and its value.
  public struct KeyPart: Equatable, Sendable {
    public var column: String
    public var value: String?
  }

  /// One value that is not what it must be.
  public struct Difference: Encodable, Equatable, Sendable {
    public var table: String
    /// The key columns, in the order of the table's key.
    public var key: [KeyPart]
    /// The column; `row` where the whole row is missing or too many.
    public var measure: String
    /// What follows from the rows that the table is made of; nil for null, or for no row.
    public var expected: String?
    /// What is stored, with what is pending where the table is folded; nil for null, or for no row.
    public var stored: String?

    private enum CodingKeys: CodingKey { case table, key, measure, expected, stored }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(table, forKey: .table)
      try container.encode(
        Dictionary(uniqueKeysWithValues: key.map { ($0.column, $0.value) }), forKey: .key)
      try container.encode(measure, forKey: .measure)
      try container.encode(expected, forKey: .expected)
      try container.encode(stored, forKey: .stored)
    }
  }

  /// Days whose rollups were compared with their raw rows, as far as they lie in the range.
  public var days = 0
  /// Snapshots that took: one a day, or one an hour where a day is large.
  public var snapshots = 0
  /// Days of the range whose raw rows were dropped: what is left of them is compared with itself. `YYYY-MM-DD`,
  /// ascending.
  public var droppedDays: [String] = []
  /// What else could not be compared, and why.
  public var notCompared: [String] = []
  /// All differences, also those that are not listed.
  public var differenceCount: Int64 = 0
  /// The first differences, at most as many as were asked for.
  public var differences: [Difference] = []

  public var isClean: Bool { differenceCount == 0 }
}

extension VerificationReport.Difference {
  /// From the columns of `VerificationSQL.listed`.
  init(_ row: QueryResult.Row) {
    table = row.text(0)
    key = Self.keys(of: table).map { VerificationReport.KeyPart(column: $0.column, value: row[$0.place]) }
    measure = row.text(4)
    expected = row[5]
    stored = row[6]
  }

  private static func keys(of table: String) -> [(column: String, place: Int)] {
    let all = ["bucket_start", "domain", "model"].enumerated().map {
      (column: $0.element, place: $0.offset + 1)
    }
    switch table {
    case "chat_telemetry_offsets": return [("consumer_group", 1), ("topic", 2), ("partition", 3)]
    case "chat_telemetry_totals", "chat_telemetry_sketches", "chat_telemetry_sketch_deltas",
      "chat_telemetry_settled_rollups":
      return Array(all[1...])
    // Of the minutes in an hour's row, the start of the minute.
    case "chat_telemetry_window_days", "chat_telemetry_window_hours":
      return [("start", 1), ("kind", 2), ("name", 3)]
    case "chat_telemetry_rollups_hour", "chat_telemetry_rollups_day": return [all[0]]
    case "chat_telemetry_domain_rollups_hour", "chat_telemetry_domain_rollups_day": return Array(all[..<2])
    case "chat_telemetry_model_rollups_hour", "chat_telemetry_model_rollups_day": return all
    default: return []
    }
  }
}
