import Foundation
import Postgres
import Store
import TestSupport
import Testing

@Suite("The reports", .timeLimit(.minutes(2)))
struct ReportTests {
  private let database: TestDatabase
  private let store: EventStore
  private let nowMs: Int64

  /// 400 events of the last nine days, by 12 domains and 5 models; some have neither.
  init() throws {
    database = try TestDatabase()
    store = try EventStore(database)
    nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    var random = SeededGenerator(seed: 21)
    let nowMs = nowMs
    try store.write(
      (0..<400).map { number in
        var event = TestEvent.random(&random, nowMs: nowMs, spanMs: 9 * 86_400_000)
        event.domain = number % 13 == 0 ? nil : "d\(number % 13).example"
        event.model = "m\(number % 5)"
        return event
      })
  }

  private struct Report: Decodable {
    var asOf: String?
    var total: Int
    var rows: [[String: Value]]

    private enum CodingKeys: String, CodingKey {
      case asOf = "as_of"
      case total, rows
    }

    enum Value: Decodable, Equatable {
      case text(String)
      case number(Decimal)
      case null

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
          self = .null
        } else if let number = try? container.decode(Decimal.self) {
          self = .number(number)
        } else {
          self = .text(try container.decode(String.self))
        }
      }
    }
  }

  private func run(_ arguments: String...) throws -> Execution {
    try execute(
      ["report"] + arguments,
      environment: [
        "TELEMETRY_POSTGRES_URL": database.options.conninfo,
        "TELEMETRY_POSTGRES_SCHEMA": database.schema.name,
      ])
  }

  private func report(_ execution: Execution) throws -> Report {
    #expect(execution.code == 0 && execution.errors.isEmpty, "\(execution.errors)")
    return try JSONDecoder().decode(Report.self, from: execution.output)
  }

  private func text(_ execution: Execution) -> [String] {
    String(decoding: execution.output, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  private func refresh() throws { try database.execute("SELECT * FROM @.refresh_telemetry_summary_views()") }

  /// What a query says, as a report's rows say it.
  private func truth(_ sql: String, _ names: [String]) throws -> [[String: Report.Value]] {
    try database.rows(sql).map { row in
      Dictionary(
        uniqueKeysWithValues: zip(names, row).map { name, value in
          guard let value else { return (name, .null) }
          let isNumber = value.wholeMatch(of: /-?\d+(\.\d+)?/) != nil
          return (name, isNumber ? .number(Decimal(string: value)!) : .text(value))
        })
    }
  }

  private func picked(_ rows: [[String: Report.Value]], _ names: [String]) -> [[String: Report.Value]] {
    rows.map { row in row.filter { names.contains($0.key) } }
  }

  @Test("A view that was never refreshed is an error that says what to do", arguments: ["domains", "models"])
  func neverRefreshed(kind: String) throws {
    let result = try run(kind, "--json")
    #expect(
      result.code == 1 && result.output.isEmpty && result.errors.contains("run telemetry-worker refresh"))
  }

  @Test(
    "The domains are those of the events, in the order asked for, no more than the limit, as of the refresh")
  func domains() throws {
    try refresh()
    let names = ["domain", "total_requests_all_time", "total_cost_usd_all_time", "success_rate_pct"]
    func truth(_ order: String) throws -> [[String: Report.Value]] {
      try self.truth(
        """
        SELECT domain, count(*), sum(coalesce(cost_usd, 0)) AS cost,
          round(100.0 * count(*) FILTER (WHERE success) / count(*), 2) AS rate
        FROM @.truth WHERE domain IS NOT NULL GROUP BY domain ORDER BY \(order), domain
        """, names)
    }
    for (sort, order) in [("cost", "3 DESC"), ("requests", "2 DESC"), ("success", "4"), ("name", "1")] {
      let all = try report(run("domains", "--sort", sort, "--json"))
      #expect(all.total == 12 && all.rows.count == 12)
      #expect(try picked(all.rows, names) == truth(order), "\(sort)")
    }
    let some = try report(run("domains", "--limit", "3", "--json"))
    #expect(try some.total == 12 && picked(some.rows, names) == Array(truth("3 DESC").prefix(3)))
    let materialized = try database.rows(
      """
      SELECT to_char(max(materialized_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
      FROM @.chat_telemetry_domain_summary
      """)[0][0]
    #expect(some.asOf == materialized && materialized != nil)

    let lines = text(try run("domains", "--limit", "3"))
    #expect(lines.count == 6 && lines[0].hasPrefix("domain "))
    #expect(lines[5] == "3 of 12 shown; as of \(materialized ?? "")")
    // A later event is in the view once that is refreshed, and not before.
    var random = SeededGenerator(seed: 22)
    var event = TestEvent.random(&random, nowMs: nowMs)
    event.domain = "new.example"
    try store.write([event])
    #expect(try report(run("domains", "--json")).total == 12)
    try refresh()
    #expect(try report(run("domains", "--json")).total == 13)
  }

  @Test("The models are those of the events")
  func models() throws {
    try refresh()
    let names = ["model", "total_uses", "total_cost", "total_tokens"]
    let all = try report(run("models", "--sort", "requests", "--json"))
    #expect(
      try picked(all.rows, names)
        == truth(
          """
          SELECT model, count(*), sum(coalesce(cost_usd, 0)),
            sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0))
          FROM @.truth GROUP BY model ORDER BY 2 DESC, 1
          """, names))
    #expect(text(try run("models")).last?.hasPrefix("as of 20") == true)
  }

  @Test(
    "A trend has every bucket up to now, and in each the events of the domain and model asked for",
    arguments: [
      (["--hours", "30"], "true", 30, "1 hour"), (["--days", "12"], "true", 12, "1 day"),
      (["--days", "9", "--domain", "d4.example"], "domain = 'd4.example'", 9, "1 day"),
      (["--hours", "200", "--domain", "unknown"], "domain IS NULL", 200, "1 hour"),
      (["--days", "9", "--model", "m2"], "model = 'm2'", 9, "1 day"),
      (
        ["--hours", "220", "--model", "m2", "--domain", "unknown"], "model = 'm2' AND domain IS NULL", 220,
        "1 hour"
      ),
    ])
  func trend(arguments: [String], condition: String, count: Int, width: String) throws {
    // Days are folded; hours are there at once.
    if width == "1 day" { try refresh() }
    let names = [
      "bucket_start", "total_requests", "failure_count", "total_cost_usd", "total_tokens", "max_duration_ms",
    ]
    let all = try execute(
      ["report", "trend", "--json"] + arguments,
      environment: [
        "TELEMETRY_POSTGRES_URL": database.options.conninfo,
        "TELEMETRY_POSTGRES_SCHEMA": database.schema.name,
      ])
    let trend = try report(all)
    let unit = width.split(separator: " ")[1]
    #expect(trend.rows.count == count && trend.total == count)
    #expect(
      try picked(trend.rows, names)
        == truth(
          """
          SET TIME ZONE 'UTC';
          SELECT to_char(b, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), count(id), count(id) FILTER (WHERE NOT success),
            coalesce(sum(cost_usd), 0), coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0),
            max(duration_ms)
          FROM generate_series(
              date_trunc('\(unit)', now()) - \(count - 1) * interval '\(width)', date_trunc('\(unit)', now()),
              interval '\(width)') AS b
            LEFT JOIN @.truth ON date_trunc('\(unit)', created_at) = b AND \(condition)
          GROUP BY b ORDER BY b
          """, names))
    #expect(trend.rows.contains { $0["total_requests"] != .number(0) })
    #expect(trend.asOf != nil)
  }

  @Test(
    "What makes no sense is wrong usage",
    arguments: [
      ["trend", "--hours", "1", "--days", "1"], ["trend", "--hours", "0"], ["trend", "--days", "3661"],
      ["domains", "--limit", "0"], ["models", "--sort", "luck"], ["trend", "--limit", "3"],
    ])
  func usage(arguments: [String]) throws {
    #expect(try execute(["report"] + arguments).code == 64)
  }
}
