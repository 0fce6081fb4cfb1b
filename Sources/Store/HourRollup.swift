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

  /// What a new row is given, in the order in which it is sent; the server makes the rest.
  var columns: [String] {
    ["granularity", "bucket_start", "bucket_end"] + keys.map(\.rawValue) + Self.sums.map(\.column)
      + [
        "failure_count", "total_cost_usd", "max_cost_usd", "max_duration_ms", "first_request_at",
        "last_request_at",
      ]
  }

  /// Columns of sums that are taken as they are.
  static let sums: [(column: String, value: @Sendable (Measures) -> Int64)] = [
    ("total_requests", { $0.requests }), ("success_count", { $0.successes }),
    ("total_input_tokens", { $0.inputTokens }), ("total_output_tokens", { $0.outputTokens }),
    ("total_duration_ms", { $0.durationMs }), ("timed_requests", { $0.timed }),
    ("total_searches", { $0.searches }), ("total_iterations", { $0.iterations }),
  ]

  /// In the order in which they are written.
  static let all = [
    HourRollup(table: "chat_telemetry_rollups_hour", keys: []) { $0.hours },
    HourRollup(table: "chat_telemetry_domain_rollups_hour", keys: [.domain]) { $0.domains },
    HourRollup(table: "chat_telemetry_model_rollups_hour", keys: [.domain, .model]) { $0.models },
  ]
}
