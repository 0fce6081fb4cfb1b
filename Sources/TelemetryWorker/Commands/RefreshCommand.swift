import ArgumentParser
import Coordinator
import Foundation
import Monitoring
import Postgres
import Store

struct RefreshCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "refresh",
    abstract: "Fold what is pending and refresh the summary views now.",
    discussion: """
      Does what the coordinator does on schedule, and may run beside it. With --check it refreshes nothing: it shows the \
      views and whether they are stale, and exits with 1 if one is. A view is stale when it was never refreshed, or when \
      events have been waiting for it for longer than --max-age.

      With --upcoming it needs no database and prints when refresh.schedule is due next, in UTC, one time a line.

      Examples:
        telemetry-worker refresh
        telemetry-worker refresh --view chat_telemetry_domain_summary
        telemetry-worker refresh --check --json
        telemetry-worker refresh --upcoming 5 --set refresh.schedule='0 2 * * *' --set refresh.time_zone=Europe/Berlin
      """)

  @Option(help: ArgumentHelp("Refresh or check this view only.", valueName: "name"))
  var view: SummaryView?

  @Flag(help: "Show how fresh the views are instead of refreshing them.")
  var check = false

  @Option(help: ArgumentHelp("How old a view with pending events may be: 90s, 15m, 24h.", valueName: "time"))
  var maxAge = TimeSpan(hours: 2)

  @Option(help: ArgumentHelp("Print this many times at which the schedule is due.", valueName: "count"))
  var upcoming: Int?

  @Option(
    help: ArgumentHelp("With --upcoming: after this time, RFC 3339, instead of now.", valueName: "time"))
  var after: TimePoint?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    if let upcoming { try OptionCheck.range(upcoming, 1...1_000_000, "--upcoming") }
    if after != nil && upcoming == nil { throw ValidationError("--after needs --upcoming.") }
    if upcoming != nil && (check || view != nil) {
      throw ValidationError("--upcoming goes with neither --check nor --view.")
    }
  }

  func run() async throws {
    let settings = try options.load()
    if let upcoming { return try show(upcoming, settings) }
    let connection = try Connection(settings.connectionOptions)
    if check { try showFreshness(settings, connection) } else { try refresh(settings, connection) }
  }

  private func show(_ upcoming: Int, _ settings: Settings) throws {
    guard let schedule = try settings.coordinatorSettings().trigger.schedule else {
      throw CommandFailure("refresh: refresh.schedule is empty: the views are refreshed by events alone")
    }
    var ticks: [String] = []
    var last = after?.micros ?? WallClock.now()
    while ticks.count < upcoming, let next = schedule.next(after: last) {
      ticks.append(Timestamp.text(micros: next))
      last = next
    }
    if json { try Console.printJSON(ticks) } else { Console.print(ticks.map { $0 + "\n" }.joined()) }
  }

  private func refresh(_ settings: Settings, _ connection: Connection) throws {
    let outcomes = try Summaries(connection: connection, schema: try settings.storeSchema())
      .refresh(view, cause: "manual")
    if json {
      try Console.printJSON(outcomes.map(RefreshRow.init))
    } else {
      Console.print(RefreshRow.table(outcomes))
    }
    let failed = outcomes.count { $0.error != nil }
    if failed > 0 { throw CommandFailure("refresh: \(failed) of \(outcomes.count) views failed") }
  }

  private func showFreshness(_ settings: Settings, _ connection: Connection) throws {
    let all = try StatusReader(connection: connection, schema: try settings.storeSchema())
      .views(maxAgeSeconds: Double(maxAge.micros) / 1_000_000)
    let views = all.filter { view == nil || $0.name == view?.rawValue }
    if json { try Console.printJSON(views) } else { Console.print(StatusText.views(views)) }
    let stale = views.filter(\.stale).map(\.name)
    if !stale.isEmpty { throw CommandFailure("refresh: stale: \(stale.joined(separator: ", "))") }
  }
}

/// A view's refresh as it is printed.
struct RefreshRow: Encodable {
  var viewName: String
  var refreshTimeMs: Double
  var status: String

  init(_ outcome: RefreshOutcome) {
    (viewName, refreshTimeMs, status) = (outcome.view.rawValue, outcome.milliseconds, outcome.status)
  }

  static func table(_ outcomes: [RefreshOutcome]) -> String {
    var table = TextTable(.text("view"), .number("ms"), .text("status"))
    for each in outcomes { table.add(each.view.rawValue, "\(each.milliseconds)", each.status) }
    return table.rendered(width: nil)
  }
}

extension SummaryView: ExpressibleByArgument {}

extension RefreshOutcome {
  var status: String { error ?? "SUCCESS" }
}
