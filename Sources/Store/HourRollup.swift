import Telemetry

/// A table of hour rollups.
struct HourRollup {
  enum KeyColumn: String {
    case domain, model

    /// The number of the text in this column.
    func text(_ row: RollupRow) -> Int32 { self == .domain ? row.domain : row.model }
  }

  /// The leaf of the rows of granularity `hour`.
  let table: String
  /// The key is the granularity, the bucket and these.
  let keys: [KeyColumn]
  let rows: @Sendable (RollupDeltas) -> [RollupRow]

  /// In the order in which they are written.
  static let all = [
    HourRollup(table: "chat_telemetry_rollups_hour", keys: []) { $0.hours },
    HourRollup(table: "chat_telemetry_domain_rollups_hour", keys: [.domain]) { $0.domains },
    HourRollup(table: "chat_telemetry_model_rollups_hour", keys: [.domain, .model]) { $0.models },
  ]
}
