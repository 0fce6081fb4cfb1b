import Postgres
import Telemetry

/// Appends rows to the hour rollups by COPY: rows that are certainly new, in the order of their keys.
struct RollupCopy {
  let connection: Connection
  let schema: Schema

  func append(
    _ rows: some Collection<RollupRow>, to rollup: HourRollup, _ texts: TextList
  ) throws(PostgresError) {
    try connection.copyIn(rows, into: schema.table(rollup.table), rollup.columns) {
      encode($0, rollup, texts, &$1)
    }
  }

  private func encode(_ new: RollupRow, _ rollup: HourRollup, _ texts: TextList, _ row: inout ByteArena) {
    let measures = new.measures
    let bucket = new.bucketStart - postgresEpochMicros
    row.field(text: "hour")
    row.field(bucket)
    row.field(bucket + UTCBucket.hourMicros)
    for key in rollup.keys { row.field(text: texts.bytes(key.text(new))) }
    for sum in HourRollup.sums { row.field(sum.value(measures)) }
    row.field(measures.requests - measures.successes)
    row.appendField(microDollars: measures.costMicros)
    row.field(optionalMicroDollars: measures.maxCostMicros)
    row.field(optional: measures.maxDurationMs)
    row.field(measures.firstMicros - postgresEpochMicros)
    row.field(measures.lastMicros - postgresEpochMicros)
  }
}
