import ArgumentParser
import Postgres
import Store

struct RebuildCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rebuild",
    abstract: "Make rollups, totals, sketches and windows anew from the raw rows where they differ.",
    discussion: """
      Compares as verify does, and replaces what differs: hour and day rollups and windows of the days by the raw rows, \
      then totals and sketches by the day rollups. It may run beside live workers, which wait for an hour's raw rows \
      to be read at most; readers see the old rows or the new ones. Afterwards the summary views are refreshed.

      The days of the range are rebuilt whole, their hours as far as they lie in it. Where retention dropped raw rows \
      there is nothing to rebuild from: a range with such days is refused, and --all leaves them as they are.

      Exits with 0 when all that differed was rebuilt and with 1 when something could not be.

      Examples:
        telemetry-worker rebuild --dry-run --from 7d
        telemetry-worker rebuild --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z
        telemetry-worker rebuild --all --json
      """)

  @Option(
    help: ArgumentHelp("Rebuild from the hour of this time on: RFC 3339, or an age as 7d.", valueName: "time")
  )
  var from: TimeBound?

  @Option(
    help: ArgumentHelp("Rebuild up to the end of the hour before this time: the same.", valueName: "time"))
  var to: TimeBound?

  @Flag(help: "Rebuild all days that have raw rows.")
  var all = false

  @Flag(help: "Show what would change, and change nothing.")
  var dryRun = false

  @Option(help: ArgumentHelp("List at most so many differences; all are counted.", valueName: "count"))
  var limit = 100

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    try OptionCheck.range(limit, 0...1_000_000, "--limit")
    if all == (from != nil || to != nil) {
      throw ValidationError("Choose a range with --from and --to, or --all.")
    }
    _ = try TimeBound.range(from, to)
  }

  func run() async throws {
    let settings = try options.load()
    let connection = try Connection(settings.connectionOptions)
    let schema = try settings.storeSchema()
    let report = try rebuild(connection, schema)
    let views =
      dryRun ? [] : try Summaries(connection: connection, schema: schema).refresh(nil, cause: "manual")
    if json {
      try Console.printJSON(Output(report: report, views: views.map(RefreshRow.init)))
    } else {
      Console.print(RebuildText.all(report) + (views.isEmpty ? "" : RefreshRow.table(views)))
    }
    if let failed = views.first(where: { $0.error != nil }) {
      throw CommandFailure("rebuild: \(failed.view.rawValue) was not refreshed: \(failed.status)")
    }
    if !dryRun, let left = report.notRebuilt.first { throw CommandFailure("rebuild: not rebuilt: \(left)") }
  }

  private func rebuild(_ connection: Connection, _ schema: Schema) throws -> RebuildReport {
    let range = try TimeBound.range(from, to)
    do {
      return try Rebuild(connection: connection, schema: schema, limit: limit, dryRun: dryRun)
        .run(all ? .all : .range(from: range.from, to: range.to))
    } catch let refused as RebuildRefused {
      throw CommandFailure("rebuild: \(refused)")
    }
  }

  /// The report and, beside its members, the views that were refreshed.
  private struct Output: Encodable {
    var report: RebuildReport
    var views: [RefreshRow]

    private enum CodingKeys: CodingKey { case views }

    func encode(to encoder: any Encoder) throws {
      try report.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(views, forKey: .views)
    }
  }
}

/// A rebuild's report for people.
enum RebuildText {
  static func all(_ report: RebuildReport) -> String {
    var text = VerificationText.differences(report.differences, of: report.differenceCount)
    text += "\(VerificationText.count(Int64(report.days), "day")) compared with the raw rows: "
    switch (report.differenceCount, report.dryRun) {
    case (0, _): text += "nothing to rebuild\n"
    case (let count, true): text += "\(VerificationText.count(count, "difference")), nothing was changed\n"
    case (let count, false):
      text += "\(VerificationText.count(count, "difference")), rebuilt in "
      text += "\(VerificationText.count(Int64(report.rebuiltParts), "transaction"))\n"
    }
    if !report.droppedDays.isEmpty {
      text +=
        "Left as they are, for their raw rows were dropped: \(report.droppedDays.joined(separator: ", "))\n"
    }
    for each in report.notRebuilt { text += "\(report.dryRun ? "Note" : "Not rebuilt"): \(each)\n" }
    return text
  }
}
