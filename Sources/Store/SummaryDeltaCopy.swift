import Postgres
import Telemetry

/// Appends what a batch adds to days, totals, sketches and windows, for the coordinator to fold. Appending locks
/// nothing that another writer needs, so it comes before the rollups' lock; COPY takes arrays within rows, which
/// `unnest` would flatten.
struct SummaryDeltaCopy {
  let connection: Connection
  let schema: Schema

  func append(_ deltas: RollupDeltas) throws(PostgresError) {
    if !deltas.summaries.isEmpty {
      var rows = ByteArena(capacity: deltas.summaries.count * 320)
      for summary in deltas.summaries { encode(summary, deltas, &rows) }
      try copy(rows, into: schema.summaryDeltasTable, Self.summaryColumns)
    }
    if !deltas.windows.isEmpty {
      var rows = ByteArena(capacity: deltas.windows.count * 256)
      for window in deltas.windows { encode(window, deltas, &rows) }
      try copy(rows, into: schema.windowDeltasTable, Self.windowColumns)
    }
  }

  private static let summaryColumns = [
    "day", "domain", "model", "total_requests", "success_count", "total_input_tokens", "total_output_tokens",
    "total_cost_micros", "max_cost_micros", "total_duration_ms", "timed_requests", "max_duration_ms",
    "total_searches", "total_iterations", "first_request_at", "last_request_at", "bins", "bin_counts",
  ]

  private static let windowColumns = [
    "hour", "domain", "model", "requests", "cost_micros", "minutes", "minute_requests", "minute_costs",
  ]

  private func copy(
    _ rows: borrowing ByteArena, into table: String, _ columns: [String]
  ) throws(PostgresError) {
    let bytes = rows.bytes
    try connection.copyIn(
      "COPY \(table) (\(columns.joined(separator: ", "))) FROM STDIN (FORMAT binary)",
      operation: "append summary deltas"
    ) { $0.send(bytes) }
  }

  private func encode(_ summary: SummaryDelta, _ deltas: RollupDeltas, _ row: inout ByteArena) {
    let measures = summary.measures
    row.appendBigEndian(Int16(Self.summaryColumns.count))
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

  private func encode(_ window: WindowDelta, _ deltas: RollupDeltas, _ row: inout ByteArena) {
    row.appendBigEndian(Int16(Self.windowColumns.count))
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

/// Fields of a row in COPY's binary format.
extension ByteArena {
  fileprivate mutating func field<Value: FixedWidthInteger>(_ value: Value) {
    appendBigEndian(Int32(MemoryLayout<Value>.size))
    appendBigEndian(value)
  }

  fileprivate mutating func field(optional value: Int64?) {
    if let value { field(value) } else { appendBigEndian(Int32(-1)) }
  }

  fileprivate mutating func field(text: ArraySlice<UInt8>?) {
    guard let text else { return appendBigEndian(Int32(-1)) }
    appendBigEndian(Int32(text.count))
    text.withUnsafeBytes { append($0) }
  }

  /// A one-dimensional array without nulls (`array_recv` in PostgreSQL's arrayfuncs.c).
  fileprivate mutating func array<Value: FixedWidthInteger>(
    _ values: ArraySlice<Value>, of type: Parameters.TypeID
  ) {
    let elementSize = 4 + MemoryLayout<Value>.size
    appendBigEndian(Int32(values.isEmpty ? 12 : 20 + values.count * elementSize))
    appendBigEndian(Int32(values.isEmpty ? 0 : 1))
    appendBigEndian(Int32(0))
    appendBigEndian(type.rawValue)
    guard !values.isEmpty else { return }
    appendBigEndian(Int32(values.count))
    appendBigEndian(Int32(1))
    for value in values { field(value) }
  }
}
