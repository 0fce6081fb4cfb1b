import Foundation
import Postgres

/// A report's rows: what a command prints and a program reads.
///
/// Encoded: `as_of`, `total`, and `rows` as objects with the columns' names. Numbers are exact.
public struct Report: Encodable, Sendable {
  /// A column of a report.
  public struct Column: Sendable {
    public enum Kind: Sendable {
      case text
      case integer
      /// Shown to people with so many places.
      case decimal(places: Int)
    }

    /// As the view or table has it.
    public var name: String
    /// As people read it.
    public var title: String
    public var kind: Kind
  }

  public var columns: [Column]
  /// Values as PostgreSQL writes them, in the order of the columns; nil is null.
  public var rows: [[String?]]
  /// The moment that the figures are of, RFC 3339 in UTC; nil when nothing was ever folded.
  public var asOf: String?
  /// How many rows there are, shown or not.
  public var total: Int64

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(asOf, forKey: Key("as_of"))
    try container.encode(total, forKey: Key("total"))
    var list = container.nestedUnkeyedContainer(forKey: Key("rows"))
    for row in rows {
      var object = list.nestedContainer(keyedBy: Key.self)
      for (column, value) in zip(columns, row) {
        let key = Key(column.name)
        switch column.kind {
        case .text: try object.encode(value, forKey: key)
        case .integer: try object.encode(value.flatMap { Int64($0) }, forKey: key)
        case .decimal: try object.encode(value.flatMap { Decimal(string: $0) }, forKey: key)
        }
      }
    }
  }
}

/// Reads the summary views and the rollups for people. Not Sendable: as its connection.
public struct Reports {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  /// A summary view holds nothing yet.
  public struct NeverRefreshed: Error, Equatable, CustomStringConvertible {
    public var view: SummaryView

    public var description: String { "\(view.rawValue) was never refreshed: run telemetry-worker refresh" }
  }

  /// What a report of a summary view begins with.
  public enum Order: String, CaseIterable, Sendable {
    /// The dearest first.
    case cost
    /// The busiest of all time first.
    case requests
    /// The busiest of the last 24 hours first.
    case recent
    /// The slowest 95th percentile first.
    case p95
    /// The lowest success rate first.
    case success
    case name
  }

  // MARK: Summary views

  /// The rows of a summary view: `limit` of them, in that order.
  /// - Throws: `NeverRefreshed`, `PostgresError`.
  public func summary(_ view: SummaryView, by order: Order, limit: Int) throws -> Report {
    var name = Parameters()
    name.append(schema.table(view.rawValue))
    let isPopulated = try connection.query(
      "SELECT relispopulated FROM pg_class WHERE oid = $1::regclass", name,
      operation: "look at \(view.rawValue)"
    ).rows[0].bool(0)
    guard isPopulated else { throw NeverRefreshed(view: view) }
    let columns = view.reportColumns
    var parameters = Parameters()
    parameters.append(Int64(limit))
    let rows = try connection.query(
      """
      SELECT \(columns.map { Self.selected($0.name) }.joined(separator: ", ")),
        count(*) OVER (), \(Self.time("materialized_at"))
      FROM \(schema.table(view.rawValue)) ORDER BY \(view.ordering(order)) LIMIT $1
      """, parameters, operation: "read \(view.rawValue)"
    ).rows
    return Report(
      columns: columns, rows: rows.map { Array($0.values.prefix(columns.count)) },
      asOf: try rows.first?[columns.count + 1] ?? refreshedAt(view),
      total: rows.first?.int(columns.count) ?? 0)
  }

  /// For a view without rows.
  private func refreshedAt(_ view: SummaryView) throws(PostgresError) -> String? {
    var parameters = Parameters()
    parameters.append(view.rawValue)
    return try connection.query(
      """
      SELECT \(Self.time("refreshed_at")) FROM \(schema.table("chat_telemetry_refresh_state")) WHERE view_name = $1
      """, parameters, operation: "read when \(view.rawValue) was refreshed"
    ).rows.first?[0]
  }

  private static func selected(_ column: String) -> String {
    column.hasSuffix("_at") ? time(column) : column
  }

  private static func time(_ column: String) -> String {
    "to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
  }

  // MARK: Trend

  /// The width of a trend's buckets.
  public enum Granularity: String, Sendable { case hour, day }

  static let trendColumns = [
    Report.Column(name: "bucket_start", title: "from", kind: .text),
    Report.Column(name: "total_requests", title: "requests", kind: .integer),
    Report.Column(name: "failure_count", title: "failures", kind: .integer),
    Report.Column(name: "success_rate_pct", title: "success %", kind: .decimal(places: 2)),
    Report.Column(name: "total_tokens", title: "tokens", kind: .integer),
    Report.Column(name: "total_cost_usd", title: "cost USD", kind: .decimal(places: 2)),
    Report.Column(name: "avg_duration_ms", title: "avg ms", kind: .decimal(places: 0)),
    Report.Column(name: "max_duration_ms", title: "max ms", kind: .integer),
  ]

  /// The last `count` hours or days in UTC, the present one included, the oldest first; of one domain or model only where
  /// they are given. A domain of `unknown` means those without one too. Hours are as of now, days as of the last fold.
  public func trend(
    _ granularity: Granularity, count: Int, domain: String? = nil, model: String? = nil
  ) throws(PostgresError) -> Report {
    var parameters = Parameters()
    parameters.append(Int32(count))
    parameters.append(granularity.rawValue)
    var filters = ""
    if let domain {
      parameters.append(domain)
      filters += " AND coalesce(r.domain, 'unknown') = $\(parameters.count)"
    }
    if let model {
      parameters.append(model)
      filters += " AND r.model = $\(parameters.count)"
    }
    let table = model != nil ? "model_rollups" : domain != nil ? "domain_rollups" : "rollups"
    let hours = granularity == .hour ? 1 : 24
    let rows = try connection.query(
      """
      SELECT \(Self.time("b.start")), coalesce(sum(r.total_requests), 0), coalesce(sum(r.failure_count), 0),
        round(100 * sum(r.success_count)::numeric / nullif(sum(r.total_requests), 0), 2),
        coalesce(sum(r.total_input_tokens + r.total_output_tokens), 0), coalesce(sum(r.total_cost_usd), 0),
        sum(r.total_duration_ms) / nullif(sum(r.timed_requests), 0), max(r.max_duration_ms),
        \(granularity == .hour ? Self.time("now()") : "(SELECT \(Self.time("folded_at")) FROM \(schema.table("chat_telemetry_fold_state")))")
      FROM generate_series(
          date_trunc($2, now(), 'UTC') - ($1 - 1) * interval '\(hours) hours', date_trunc($2, now(), 'UTC'),
          interval '\(hours) hours') AS b (start)
        LEFT JOIN \(schema.table("chat_telemetry_\(table)")) AS r
          ON r.granularity = $2 AND r.bucket_start = b.start\(filters)
      GROUP BY b.start ORDER BY b.start
      """, parameters, operation: "read the \(granularity.rawValue) rollups"
    ).rows
    let width = Self.trendColumns.count
    return Report(
      columns: Self.trendColumns, rows: rows.map { Array($0.values.prefix(width)) }, asOf: rows.first?[width],
      total: Int64(rows.count))
  }
}

extension SummaryView {
  fileprivate var reportColumns: [Report.Column] {
    switch self {
    case .domains:
      [
        Report.Column(name: "domain", title: "domain", kind: .text),
        Report.Column(name: "total_requests_all_time", title: "requests", kind: .integer),
        Report.Column(name: "requests_last_24h", title: "last 24 h", kind: .integer),
        Report.Column(name: "success_rate_pct", title: "success %", kind: .decimal(places: 2)),
        Report.Column(name: "total_tokens", title: "tokens", kind: .integer),
        Report.Column(name: "total_cost_usd_all_time", title: "cost USD", kind: .decimal(places: 2)),
        Report.Column(name: "cost_last_24h", title: "last 24 h", kind: .decimal(places: 2)),
        Report.Column(name: "avg_duration_ms", title: "avg ms", kind: .decimal(places: 0)),
        Report.Column(name: "p95_duration_ms", title: "p95 ms", kind: .decimal(places: 0)),
        Report.Column(name: "most_used_model", title: "most used model", kind: .text),
        Report.Column(name: "last_request_at", title: "last request", kind: .text),
      ]
    case .models:
      [
        Report.Column(name: "model", title: "model", kind: .text),
        Report.Column(name: "total_uses", title: "uses", kind: .integer),
        Report.Column(name: "uses_last_24h", title: "last 24 h", kind: .integer),
        Report.Column(name: "unique_domains", title: "domains", kind: .integer),
        Report.Column(name: "success_rate_pct", title: "success %", kind: .decimal(places: 2)),
        Report.Column(name: "total_tokens", title: "tokens", kind: .integer),
        Report.Column(name: "total_cost", title: "cost USD", kind: .decimal(places: 2)),
        Report.Column(name: "cost_per_1k_tokens", title: "per 1k tokens", kind: .decimal(places: 6)),
        Report.Column(name: "avg_duration_ms", title: "avg ms", kind: .decimal(places: 0)),
        Report.Column(name: "p95_duration_ms", title: "p95 ms", kind: .decimal(places: 0)),
        Report.Column(name: "last_used_at", title: "last used", kind: .text),
      ]
    }
  }

  /// Ends with the key, so that equals always come in one order.
  fileprivate func ordering(_ order: Reports.Order) -> String {
    let isDomains = self == .domains
    let key = isDomains ? "domain" : "model"
    let first: String? =
      switch order {
      case .cost: isDomains ? "total_cost_usd_all_time DESC" : "total_cost DESC"
      case .requests: isDomains ? "total_requests_all_time DESC" : "total_uses DESC"
      case .recent: isDomains ? "requests_last_24h DESC" : "uses_last_24h DESC"
      case .p95: "p95_duration_ms DESC NULLS LAST"
      case .success: "success_rate_pct"
      case .name: nil
      }
    return ([first].compactMap(\.self) + ["\(key) COLLATE \"C\""]).joined(separator: ", ")
  }
}
