import ArgumentParser
import Foundation
import Monitoring
import Postgres
import Store
import Telemetry

struct DeadLettersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dead-letters",
    abstract: "Look into the records that could not be stored, and try them again.",
    discussion: """
      A dead letter is a record with its bytes, its coordinates and the reason why it is no row. It waits until it is \
      retried or discarded, or until retention takes it.

      Example, after an upgrade that accepts what was refused before:
        telemetry-worker dead-letters list --reason out_of_range
        telemetry-worker dead-letters show 17
        telemetry-worker dead-letters retry --reason out_of_range --dry-run
        telemetry-worker dead-letters retry --reason out_of_range
      """,
    subcommands: [
      DeadLettersListCommand.self, DeadLettersShowCommand.self, DeadLettersRetryCommand.self,
      DeadLettersDiscardCommand.self, DeadLettersExportCommand.self,
    ])
}

/// Which dead letters are meant.
struct DeadLetterOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only those with this reason.", valueName: "reason"))
  var reason: RejectionReason?

  @Option(help: ArgumentHelp("Only those of this topic.", valueName: "topic"))
  var topic: String?

  @Option(
    help: ArgumentHelp(
      "Only those received since this time, RFC 3339, or this long ago: 90m, 7d.", valueName: "time"))
  var since: PointOrAge?

  var isEmpty: Bool { reason == nil && topic == nil && since == nil }

  func filter(ids: [Int64] = [], state: DeadLetterFilter.State = .waiting) -> DeadLetterFilter {
    DeadLetterFilter(
      ids: ids, reason: reason, topic: topic, sinceMicros: since?.micros(now: WallClock.now()),
      state: state)
  }

  /// How many of the ids named were of no dead letter that waits and matches: an earlier run may have resolved them.
  static func notWaiting(_ ids: [Int64], found: Int) -> Int { ids.isEmpty ? 0 : Set(ids).count - found }

  /// Changing everything that waits must be asked for.
  func validate(ids: [Int64], all: Bool) throws {
    if ids.isEmpty && isEmpty && !all {
      throw ValidationError("Name ids or a filter, or say --all for every dead letter that waits.")
    }
    if all && !(ids.isEmpty && isEmpty) { throw ValidationError("--all goes with neither ids nor a filter.") }
  }
}

extension RejectionReason: ExpressibleByArgument {}

/// A point in time, or how long ago it was.
enum PointOrAge: ExpressibleByArgument, Equatable, Sendable {
  case point(TimePoint)
  case age(TimeSpan)

  init?(argument: String) {
    if let age = TimeSpan(argument: argument) {
      self = .age(age)
    } else if let point = TimePoint(argument: argument) {
      self = .point(point)
    } else {
      return nil
    }
  }

  /// Microseconds since the Unix epoch.
  func micros(now: Int64) -> Int64 {
    switch self {
    case .point(let point): point.micros
    case .age(let age): now - age.micros
    }
  }
}

extension Settings {
  func deadLetterQueries() throws -> DeadLetterQueries {
    DeadLetterQueries(connection: try Connection(connectionOptions), schema: try storeSchema())
  }
}

struct DeadLettersListCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the latest dead letters, and count them by reason.",
    discussion: """
      Example:
        telemetry-worker dead-letters list --reason missing_field --since 7d
      """)

  @OptionGroup(title: "Filters")
  var filters: DeadLetterOptions

  @Flag(help: "Those that were retried or discarded, instead of those that wait.")
  var resolved = false

  @Option(help: ArgumentHelp("List at most so many; the counts are of all.", valueName: "count"))
  var limit = 50

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws { try OptionCheck.range(limit, 0...100_000, "--limit") }

  private struct Report: Encodable {
    var deadLetters: [DeadLetterSummary]
    var counts: [DeadLetterQueries.ReasonCount]
  }

  func run() async throws {
    let queries = try options.load().deadLetterQueries()
    let filter = filters.filter(state: resolved ? .resolved : .waiting)
    let report = Report(
      deadLetters: try queries.list(filter, limit: limit), counts: try queries.counts(filter))
    if json {
      try Console.printJSON(report)
    } else {
      Console.print(
        DeadLetterText.list(report.deadLetters, resolved: resolved) + "\n"
          + DeadLetterText.counts(report.counts))
    }
  }
}

struct DeadLettersShowCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show all that is known of one dead letter.",
    discussion: """
      The payload is shown as text where it is UTF-8, else as hexadecimal digits.

      Example:
        telemetry-worker dead-letters show 17 --json
      """)

  @Argument(help: "Its id, as list shows it.")
  var id: Int64

  @Flag(help: "Show the key and the payload as hexadecimal digits in any case.")
  var hex = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    if hex && json {
      throw ValidationError("--hex goes without --json, which has Base64 where there is no text.")
    }
  }

  private struct Report: Encodable {
    var letter: StoredDeadLetter

    private enum CodingKeys: String, CodingKey { case explanation }

    func encode(to encoder: any Encoder) throws {
      try letter.encode(to: encoder)
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(DeadLetterText.explanation(of: letter.summary.reason), forKey: .explanation)
    }
  }

  func run() async throws {
    guard let letter = try options.load().deadLetterQueries().find(id) else {
      throw CommandFailure("dead-letters: there is no dead letter \(id); `dead-letters list` shows their ids")
    }
    if json {
      try Console.printJSON(Report(letter: letter))
    } else {
      Console.print(DeadLetterText.letter(letter, hex: hex))
    }
  }
}
