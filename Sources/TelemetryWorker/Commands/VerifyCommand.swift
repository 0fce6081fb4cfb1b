import ArgumentParser
import Foundation
import Monitoring
import Postgres
import Store

struct VerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare rollups, totals, sketches, windows and positions with what they are made of.",
    discussion: """
      Hour and day rollups and the trailing windows are compared with the raw rows, every measure of each row, then \
      totals and sketches with the day rollups, and positions with themselves. It changes nothing and may run beside \
      live workers: each day is read in a snapshot of its own, each hour where a day is large. Totals and positions \
      have no place in time and are compared whatever the range. Days whose raw rows retention dropped are named, and \
      what is left of them is compared among itself. What differs, `rebuild` makes anew.

      Exits with 0 when all agrees and with 1 on any difference.

      Examples:
        telemetry-worker verify
        telemetry-worker verify --from 7d
        telemetry-worker verify --json --from 2026-03-01T00:00:00Z --to 1d
      """)

  @Option(
    help: ArgumentHelp("Compare from the hour of this time on: RFC 3339, or an age as 7d.", valueName: "time")
  )
  var from: TimeBound?

  @Option(
    help: ArgumentHelp("Compare up to the end of the hour before this time: the same.", valueName: "time"))
  var to: TimeBound?

  @Option(help: ArgumentHelp("List at most so many differences; all are counted.", valueName: "count"))
  var limit = 100

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    try OptionCheck.range(limit, 0...1_000_000, "--limit")
    _ = try TimeBound.range(from, to)
  }

  func run() async throws {
    let settings = try options.load()
    let verification = Verification(
      connection: try Connection(settings.connectionOptions), schema: try settings.storeSchema(), limit: limit
    )
    let range = try TimeBound.range(from, to)
    let report = try verification.run(from: range.from, to: range.to)
    if json { try Console.printJSON(report) } else { Console.print(VerificationText.all(report)) }
    if !report.isClean {
      throw CommandFailure("verify: \(VerificationText.count(report.differenceCount, "difference"))")
    }
  }
}

/// A verification's report for people.
enum VerificationText {
  static func all(_ report: VerificationReport) -> String {
    var text = ""
    text += differences(report.differences, of: report.differenceCount)
    text += "\(count(Int64(report.days), "day")) compared with the raw rows, "
    text += "in \(count(Int64(report.snapshots), "snapshot")): "
    text += report.isClean ? "all agrees\n" : "\(count(report.differenceCount, "difference"))\n"
    if !report.droppedDays.isEmpty {
      text +=
        "Compared among themselves, for their raw rows were dropped: \(report.droppedDays.joined(separator: ", "))\n"
    }
    for each in report.notCompared { text += "Not compared: \(each)\n" }
    return text
  }

  static func count(_ number: Int64, _ noun: String) -> String {
    "\(NumberText.grouped(number)) \(noun)\(number == 1 ? "" : "s")"
  }

  /// A table of differences, and how many more there are.
  static func differences(_ differences: [VerificationReport.Difference], of all: Int64) -> String {
    let hidden = all - Int64(differences.count)
    let more = hidden > 0 ? "and \(NumberText.grouped(hidden)) more\n" : ""
    guard !differences.isEmpty else { return more }
    var table = TextTable(.text("table"), .text("key"), .text("measure"), .text("expected"), .text("stored"))
    for each in differences {
      let key = each.key.map { "\($0.column)=\($0.value ?? "null")" }.joined(separator: " ")
      table.add(each.table, key, each.measure, each.expected ?? "none", each.stored ?? "none")
    }
    return table.rendered(width: nil) + more
  }
}
