import ArgumentParser
import Foundation
import Postgres
import Store

struct ReportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Show what the domains and models cost and how they do, and the trend.",
    discussion: """
      Reads the summary views and the rollups, never the raw rows, and says of what moment the figures are.

      Examples:
        telemetry-worker report domains
        telemetry-worker report trend --hours 48 --domain northwind.example
      """,
    subcommands: [ReportDomainsCommand.self, ReportModelsCommand.self, ReportTrendCommand.self])
}

/// What the reports of the summary views take.
struct ReportOptions: ParsableArguments {
  @Option(help: "Show at most so many rows.")
  var limit = 20

  @Option(
    help: """
      What stands first: the highest cost, the most requests, the most requests of the last 24 hours (recent), the \
      slowest 95th percentile (p95), the lowest success rate (success), or the names in order.
      """)
  var sort = Reports.Order.cost

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws { try OptionCheck.range(limit, 1...100_000, "--limit") }
}

extension Reports.Order: ExpressibleByArgument {}

extension Settings {
  func reports() throws -> Reports {
    Reports(connection: try Connection(connectionOptions), schema: try storeSchema())
  }
}

struct ReportDomainsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "domains",
    abstract: "Show the domains of all time, from their summary view.",
    discussion: """
      Examples:
        telemetry-worker report domains --sort recent --limit 10
        telemetry-worker report domains --json
      """)

  @OptionGroup var report: ReportOptions

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let found = try options.load().reports().summary(.domains, by: report.sort, limit: report.limit)
    if report.json { try Console.printJSON(found) } else { Console.print(ReportText.all(found)) }
  }
}

struct ReportModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models",
    abstract: "Show the models of all time, from their summary view.",
    discussion: """
      Examples:
        telemetry-worker report models --sort p95
        telemetry-worker report models --json
      """)

  @OptionGroup var report: ReportOptions

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let found = try options.load().reports().summary(.models, by: report.sort, limit: report.limit)
    if report.json { try Console.printJSON(found) } else { Console.print(ReportText.all(found)) }
  }
}

struct ReportTrendCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "trend",
    abstract: "Show the last hours or days, from the rollups.",
    discussion: """
      Hours and days are UTC's, the present one comes last, and those without events are there too. Hours are as of \
      now, days as of the last fold.

      Examples:
        telemetry-worker report trend
        telemetry-worker report trend --days 30 --domain northwind.example --model sonnet --json
      """)

  @Option(help: ArgumentHelp("The last so many hours; 24 unless --days is given.", valueName: "count"))
  var hours: Int?

  @Option(help: ArgumentHelp("The last so many days.", valueName: "count"))
  var days: Int?

  @Option(help: ArgumentHelp("Of this domain only; unknown is those without one.", valueName: "name"))
  var domain: String?

  @Option(help: ArgumentHelp("Of this model only.", valueName: "name"))
  var model: String?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    if hours != nil && days != nil { throw ValidationError("--hours and --days exclude each other.") }
    // 90 days and ten years: what a report for people can mean.
    if let hours { try OptionCheck.range(hours, 1...2_160, "--hours") }
    if let days { try OptionCheck.range(days, 1...3_660, "--days") }
  }

  func run() async throws {
    let found = try options.load().reports().trend(
      days == nil ? .hour : .day, count: days ?? hours ?? 24, domain: domain, model: model)
    if json { try Console.printJSON(found) } else { Console.print(ReportText.all(found)) }
  }
}

/// A report as a table.
enum ReportText {
  static func all(_ report: Report) -> String {
    var table = TextTable(
      report.columns.map { column in
        if case .text = column.kind { .text(column.title) } else { .number(column.title) }
      })
    for row in report.rows { table.add(zip(report.columns, row).map { cell($0, $1) }) }
    let shown = Int64(report.rows.count)
    let rest =
      shown < report.total
      ? "\(NumberText.grouped(shown)) of \(NumberText.grouped(report.total)) shown; " : ""
    return table.rendered(width: Console.width) + "\(rest)as of \(report.asOf ?? "no fold yet")\n"
  }

  private static func cell(_ column: Report.Column, _ value: String?) -> String {
    guard let value else { return "-" }
    switch column.kind {
    case .text: return value
    case .integer: return NumberText.grouped(value)
    case .decimal(let places):
      guard let exact = Decimal(string: value) else { return value }
      return NumberText.grouped(rounded(exact, places))
    }
  }

  /// Half up, with exactly so many places.
  private static func rounded(_ exact: Decimal, _ places: Int) -> String {
    var (value, rounded) = (exact, Decimal())
    NSDecimalRound(&rounded, &value, places, .plain)
    let text = "\(rounded)"
    guard places > 0 else { return text }
    let fraction = text.split(separator: ".").dropFirst().first.map(String.init) ?? ""
    let whole = text.prefix { $0 != "." }
    return whole + "." + fraction + String(repeating: "0", count: places - fraction.count)
  }
}
