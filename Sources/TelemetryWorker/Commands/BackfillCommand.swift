import ArgumentParser
import Foundation
import Logging
import Monitoring
import Store

struct BackfillCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backfill",
    abstract: "Replay topics: store what is not stored yet, and count nothing twice.",
    discussion: """
      Reads partitions from one place to another and stores what Postgres does not hold; what it holds changes nothing. \
      It joins no consumer group and moves no position of one, and may run beside live workers.

      --from and --to take a time (RFC 3339, or an age as 7d, 12h, 30m), an offset, earliest or latest. The end is fixed \
      when the job starts: what is produced later is not read. A time means the timestamps of Kafka's records, not the \
      events' own times, and selects those stamped at or after --from and before --to. The broker's index says where to \
      begin. It cannot say where to end, for a record stamped before --to may stand behind one stamped after it: so a \
      partition is read to its end, unless --disorder says how far out of order records can be. Records within the \
      offsets and outside the times, or without a timestamp, are counted as out of the range and not stored.

      Positions are kept in Postgres under the job's name, in the transaction that stores the rows. A backfill that was \
      stopped or killed goes on with the same command, or with --job alone. Without --job the name is made of what is \
      replayed: the same command goes on with the job that is not done, or begins anew when it is. A second process \
      with the same job takes it over, and the first one ends.

      Exits with 0 when all is done, now or before, and with 75 when it was stopped by SIGTERM or SIGINT and can go on.

      Examples:
        telemetry-worker backfill --from 7d --dry-run
        telemetry-worker backfill --topic chat-telemetry --from 2026-03-01T00:00:00Z --to 2026-03-02T00:00:00Z --disorder 1h
        telemetry-worker backfill --job incident-12 --partition 3 --from 120000 --to 150000 --rate 5000
      """)

  @Option(
    help: ArgumentHelp("Replay these topics; without it kafka.topics. Repeatable.", valueName: "name,..."))
  var topic: [String] = []

  @Option(help: ArgumentHelp("Replay this partition; without it all. Repeatable.", valueName: "number"))
  var partition: [Int32] = []

  @Option(help: ArgumentHelp("Begin there. (default: earliest)", valueName: "time|offset|earliest|latest"))
  var from: BackfillBound?

  @Option(help: ArgumentHelp("End before that. (default: latest)", valueName: "time|offset|earliest|latest"))
  var to: BackfillBound?

  @Option(
    help: ArgumentHelp(
      "With a time for --to: no record is stamped that much earlier than one before it.", valueName: "time"))
  var disorder: TimeSpan?

  @Option(help: ArgumentHelp("Keep the positions under this name.", valueName: "name"))
  var job: String?

  @Option(help: ArgumentHelp("Read at most so many events a second.", valueName: "count"))
  var rate: Int?

  @Option(help: "Consumers and database connections that share the partitions.")
  var parallel = 1

  @Flag(help: "Show what would be read, from where to where, and change nothing.")
  var dryRun = false

  @Option(
    help: ArgumentHelp(
      "Serve /metrics, /live and /ready on this port of http.host; 0 is any.", valueName: "port")
  )
  var httpPort: UInt16?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    if let rate { try OptionCheck.range(rate, 1...10_000_000, "--rate") }
    try OptionCheck.range(parallel, 1...64, "--parallel")
    for each in partition { try OptionCheck.range(each, 0...Int32.max, "--partition") }
    if let job, !BackfillSelection.isJobName(job) {
      throw ValidationError("--job \"\(job)\" is no name: use 1 to 100 letters, digits, dots, _ and -.")
    }
    if let from, let to, BackfillBound.isEmpty(from: from, to: to, nowMicros: WallClock.now()) {
      throw ValidationError("--from \(from.text) must be before --to \(to.text).")
    }
    if disorder != nil {
      guard to?.isTime == true else {
        throw ValidationError("--disorder needs a time for --to.")
      }
    }
  }

  func run() async throws {
    let settings = try options.load()
    let backfill = try Backfill(settings: settings, selection: selection, disorder: disorder)
    if dryRun { return try show(try backfill.plan()) }
    let signals = await StopSignals()
    let report: BackfillReport
    switch try backfill.start() {
    case .finished(let before): report = before
    case .open(let job, let claim):
      report = try await BackfillRun(
        settings: settings, job: job, claim: claim, parallel: parallel, rate: rate, httpPort: httpPort
      ).run(signals)
    }
    try show(report)
    guard report.state == .stopped else { return }
    Console.note("telemetry-worker: backfill: stopped; --job \(report.job) goes on with it")
    throw ExitCode(Exit.stopped)
  }

  var selection: BackfillSelection {
    let topics = topic.flatMap { $0.split(separator: ",").map { String($0).trimmed } }
    return BackfillSelection(
      job: job, topics: topics.isEmpty ? nil : topics, partitions: partition.isEmpty ? nil : partition,
      from: from, to: to)
  }

  private func show(_ report: BackfillReport) throws {
    if json { try Console.printJSON(report) } else { Console.print(report.text) }
  }
}
