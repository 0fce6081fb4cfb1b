import Postgres
import Telemetry

/// Appends what a batch adds to days, totals, sketches and windows, for the coordinator to fold. Appending locks
/// nothing that another writer needs, so it comes before the rollups' lock; COPY takes arrays within rows, which
/// `unnest` would flatten.
struct SummaryDeltaCopy {
  let connection: Connection
  let schema: Schema

  func append(_ deltas: RollupDeltas) throws(PostgresError) {
    try connection.copyIn(deltas.summaries, into: schema.summaryDeltasTable, Self.summaryColumns) {
      encode($0, deltas, &$1)
    }
    try connection.copyIn(deltas.sketches, into: schema.sketchDeltasTable, Self.sketchColumns) {
      encode($0, deltas, &$1)
    }
    try connection.copyIn(deltas.windows, into: schema.windowDeltasTable, Self.windowColumns) {
      encode($0, deltas, &$1)
    }
  }

  private static let summaryColumns = [
    "day", "domain", "model", "total_requests", "success_count", "total_input_tokens", "total_output_tokens",
    "total_cost_micros", "max_cost_micros", "total_duration_ms", "timed_requests", "max_duration_ms",
    "total_searches", "total_iterations", "first_request_at", "last_request_at", "bins", "bin_counts",
  ]

  private static let sketchColumns = ["kind", "name", "timed_requests", "bins", "bin_counts"]

  private static let windowColumns = [
    "hour", "domain", "model", "requests", "cost_micros", "minutes", "minute_requests", "minute_costs",
  ]

  private func encode(_ summary: SummaryDelta, _ deltas: RollupDeltas, _ row: inout ByteArena) {
    let measures = summary.measures
    row.field(summary.day - postgresEpochDays)
    row.field(text: deltas.texts.bytes(summary.domain))
    row.field(text: deltas.texts.bytes(summary.model))
    row.field(measures.requests)
    row.field(measures.successes)
    row.field(measures.inputTokens)
    row.field(measures.outputTokens)
    row.field(measures.costMicros)
    row.field(optional: measures.maxCostMicros)
    row.field(measures.durationMs)
    row.field(measures.timed)
    row.field(optional: measures.maxDurationMs)
    row.field(measures.searches)
    row.field(measures.iterations)
    row.field(measures.firstMicros - postgresEpochMicros)
    row.field(measures.lastMicros - postgresEpochMicros)
    row.array(deltas.bins[summary.sketch], of: .int2)
    row.array(deltas.binCounts[summary.sketch], of: .int4)
  }

  private func encode(_ sketch: SketchDelta, _ deltas: RollupDeltas, _ row: inout ByteArena) {
    if let domain = deltas.texts.bytes(sketch.domain) {
      row.field(text: "domain")
      row.field(text: domain)
    } else {
      row.field(text: "model")
      row.field(text: deltas.texts.bytes(sketch.model))
    }
    row.field(sketch.timed)
    row.array(deltas.nameBins[sketch.bins], of: .int2)
    row.array(deltas.nameBinCounts[sketch.bins], of: .int4)
  }

  private func encode(_ window: WindowDelta, _ deltas: RollupDeltas, _ row: inout ByteArena) {
    row.field(window.hourStart - postgresEpochMicros)
    row.field(text: deltas.texts.bytes(window.domain))
    row.field(text: deltas.texts.bytes(window.model))
    row.field(window.requests)
    row.field(window.costMicros)
    row.array(deltas.windowMinutes[window.minutes], of: .int2)
    row.array(deltas.windowRequests[window.minutes], of: .int8)
    row.array(deltas.windowCosts[window.minutes], of: .int8)
  }
}
