import Postgres
import Telemetry

/// The upserts of the hour rollups: whole arrays, in the order of the keys.
struct RollupUpserts {
  let schema: Schema

  func upsert(_ rollup: HourRollup, _ rows: some Collection<RollupRow>, _ texts: TextList) -> Statement {
    let keyNames = rollup.keys.map { ", \($0.rawValue)" }.joined()
    let sumNames = HourRollup.sums.map(\.column).joined(separator: ", ")
    let added = HourRollup.sums.map { "\($0.column) = r.\($0.column) + excluded.\($0.column)" }
    // Parameters: bucket, keys, sums, cost, dearest, longest, first, last.
    let types =
      ["timestamptz"] + rollup.keys.map { _ in "text" } + HourRollup.sums.map { _ in "bigint" }
      + ["bigint", "bigint", "bigint", "timestamptz", "timestamptz"]
    let arrays = types.enumerated().map { "$\($0.offset + 1)::\($0.element)[]" }.joined(separator: ", ")
    return Statement(
      """
      INSERT INTO \(schema.table(rollup.table)) AS r (\(rollup.columns.joined(separator: ", ")))
      SELECT 'hour', bucket, bucket + interval '1 hour'\(keyNames), \(sumNames),
        total_requests - success_count, cost * 0.000001, dearest * 0.000001, longest, first_at, last_at
      FROM unnest(\(arrays)) AS u (bucket\(keyNames), \(sumNames), cost, dearest, longest, first_at, last_at)
      ON CONFLICT (granularity, bucket_start\(keyNames)) DO UPDATE SET
        \(added.joined(separator: ", ")),
        failure_count = r.failure_count + excluded.failure_count,
        total_cost_usd = r.total_cost_usd + excluded.total_cost_usd,
        max_cost_usd = greatest(r.max_cost_usd, excluded.max_cost_usd),
        max_duration_ms = greatest(r.max_duration_ms, excluded.max_duration_ms),
        first_request_at = least(r.first_request_at, excluded.first_request_at),
        last_request_at = greatest(r.last_request_at, excluded.last_request_at),
        updated_at = now()
      """, parameters(rollup, rows, texts), operation: "upsert \(rollup.table)")
  }

  private func parameters(
    _ rollup: HourRollup, _ rows: some Collection<RollupRow>, _ texts: TextList
  ) -> Parameters {
    // A number takes 12 bytes, and a text seldom more than twice that.
    let numbers = HourRollup.sums.count + 6
    var parameters = Parameters(expectedBytes: rows.count * (12 * numbers + 24 * rollup.keys.count) + 1024)
    parameters.keys(rollup, rows, texts)
    for sum in HourRollup.sums { parameters.array(of: .int8, rows.lazy.map { sum.value($0.measures) }) }
    parameters.array(of: .int8, rows.lazy.map(\.measures.costMicros))
    parameters.array(of: .int8, count: rows.count)
    for row in rows { parameters.element(row.measures.maxCostMicros) }
    parameters.array(of: .int8, count: rows.count)
    for row in rows { parameters.element(row.measures.maxDurationMs) }
    parameters.array(of: .timestamptz, rows.lazy.map { $0.measures.firstMicros - postgresEpochMicros })
    parameters.array(of: .timestamptz, rows.lazy.map { $0.measures.lastMicros - postgresEpochMicros })
    return parameters
  }
}

extension Parameters {
  /// The keys of rollup rows: an array of buckets, and one of texts for each key column.
  mutating func keys(_ rollup: HourRollup, _ rows: some Collection<RollupRow>, _ texts: TextList) {
    array(of: .timestamptz, rows.lazy.map { $0.bucketStart - postgresEpochMicros })
    for key in rollup.keys {
      array(of: .text, count: rows.count)
      for row in rows { element(text: texts.bytes(key.text(row))) }
    }
  }

  /// A text's bytes; null for none.
  private mutating func element(text: ArraySlice<UInt8>?) {
    guard let text else { return nullElement() }
    text.withUnsafeBytes { element(bytes: $0) }
  }
}
