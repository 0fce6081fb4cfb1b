import Postgres
import Telemetry

/// Appends rows to the hour rollups by COPY: rows that are certainly new, in the order of their keys.
struct RollupCopy {
  let connection: Connection
  let schema: Schema

  func append(
    _ rows: some Collection<RollupRow>, to rollup: HourRollup, _ texts: TextList
  ) throws(PostgresError) {
    let columns =
      ["granularity", "bucket_start", "bucket_end"] + rollup.keys.map(\.rawValue)
      + RollupUpserts.sums.map(\.column)
      + [
        "failure_count", "total_cost_usd", "max_cost_usd", "max_duration_ms", "first_request_at",
        "last_request_at",
      ]
    try connection.copyIn(rows, into: schema.table(rollup.table), columns) {
      encode($0, rollup, texts, &$1)
    }
  }

  private func encode(_ rollup: RollupRow, _ table: HourRollup, _ texts: TextList, _ row: inout ByteArena) {
    let measures = rollup.measures
    let bucket = rollup.bucketStart - postgresEpochMicros
    row.field(text: "hour")
    row.field(bucket)
    row.field(bucket + UTCBucket.hourMicros)
    for key in table.keys { row.field(text: texts.bytes(key.text(rollup))) }
    for sum in RollupUpserts.sums { row.field(sum.value(measures)) }
    row.field(measures.requests - measures.successes)
    row.appendField(microDollars: measures.costMicros)
    row.field(optionalMicroDollars: measures.maxCostMicros)
    row.field(optional: measures.maxDurationMs)
    row.field(measures.firstMicros - postgresEpochMicros)
    row.field(measures.lastMicros - postgresEpochMicros)
  }
}
