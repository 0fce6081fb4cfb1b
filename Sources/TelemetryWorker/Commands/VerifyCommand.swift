import ArgumentParser
import Foundation
import Monitoring
import Postgres
import Store

struct VerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Compare rollups, totals, sketches and positions with what they are made of.",
    discussion: """
      Hour and day rollups are compared with the raw rows, every measure of each row, then totals and sketches with the \
      day rollups, and positions with themselves. It changes nothing and may run beside live workers: each day is read \
      in a snapshot of its own, each hour where a day is large. Totals and positions have no place in time and are \
      compared whatever the range. Days whose raw rows retention dropped are named and left out.

      Exits with 0 when all agrees and with 1 on any difference.

      Examples:
        telemetry-worker verify
        telemetry-worker verify --from 7d
        telemetry-worker verify --json --from 2026-03-01T00:00:00Z --to 1d
      """)

  @Option(
    help: ArgumentHelp("Compare from the hour of this time on: RFC 3339, or an age as 7d.", valueName: "time")
  )
  var from: Bound?

  @Option(
    help: ArgumentHelp("Compare up to the end of the hour before this time: the same.", valueName: "time"))
  var to: Bound?

  @Option(help: ArgumentHelp("List at most so many differences; all are counted.", valueName: "count"))
  var limit = 100

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  /// A point in time, or how long ago it was.
  enum Bound: ExpressibleByArgument {
    case time(TimePoint)
    case age(TimeSpan)

    init?(argument: String) {
      if let time = TimePoint(argument: argument) {
        self = .time(time)
      } else if let age = TimeSpan(argument: argument) {
        self = .age(age)
      } else {
        return nil
      }
    }

    func micros(nowMicros: Int64) -> Int64 {
      switch self {
      case .time(let time): time.micros
      case .age(let age): nowMicros - age.micros
      }
    }
  }

  func validate() throws {
    try OptionCheck.range(limit, 0...1_000_000, "--limit")
    let bounds = bounds
    if let from = bounds.from, let to = bounds.to, from >= to {
      throw ValidationError("--from must be before --to.")
    }
  }

  func run() async throws {
    let settings = try options.load()
    let verification = Verification(
      connection: try Connection(settings.connectionOptions), schema: try settings.storeSchema(), limit: limit
    )
    let report = try verification.run(from: bounds.from, to: bounds.to)
    if json { try Console.printJSON(report) } else { Console.print(VerificationText.all(report)) }
    if !report.isClean {
      throw CommandFailure("verify: \(VerificationText.count(report.differenceCount, "difference"))")
    }
  }

  private var bounds: (from: Int64?, to: Int64?) {
    let now = WallClock.now()
    return (from?.micros(nowMicros: now), to?.micros(nowMicros: now))
  }
}

/// A verification's report for people.
enum VerificationText {
  static func all(_ report: VerificationReport) -> String {
    var text = ""
    if !report.differences.isEmpty { text += differences(report.differences) }
    let hidden = report.differenceCount - Int64(report.differences.count)
    if hidden > 0 { text += "and \(NumberText.grouped(hidden)) more\n" }
    text += "\(count(Int64(report.days), "day")) compared with the raw rows, "
    text += "in \(count(Int64(report.snapshots), "snapshot")): "
    text += report.isClean ? "all agrees\n" : "\(count(report.differenceCount, "difference"))\n"
    if !report.droppedDays.isEmpty {
      text += "Left out, for their raw rows were dropped: \(report.droppedDays.joined(separator: ", "))\n"
    }
    for each in report.notCompared { text += "Not compared: \(each)\n" }
    return text
  }

  static func count(_ number: Int64, _ noun: String) -> String {
    "\(NumberText.grouped(number)) \(noun)\(number == 1 ? "" : "s")"
  }

  private static func differences(_ differences: [VerificationReport.Difference]) -> String {
    var table = TextTable(.text("table"), .text("key"), .text("measure"), .text("expected"), .text("stored"))
    for each in differences {
      let key = each.key.map { "\($0.column)=\($0.value ?? "null")" }.joined(separator: " ")
      table.add(each.table, key, each.measure, each.expected ?? "none", each.stored ?? "none")
    }
    return table.rendered(width: nil)
  }
}
