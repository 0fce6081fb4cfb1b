import ArgumentParser
import Foundation
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry

struct DeadLettersRetryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry",
    abstract: "Decode dead letters again and store those that are good now.",
    discussion: """
      Each is decoded with its own topic, partition and offset, stored once and marked as retried in one transaction, \
      also beside live workers. An event that is stored already resolves too. What fails again stays, with the reason \
      of now; then the exit code is 1.

      Examples:
        telemetry-worker dead-letters retry 17 18
        telemetry-worker dead-letters retry --reason missing_field --model unknown-model --dry-run
      """)

  @Argument(help: "Their ids, as list shows them.")
  var ids: [Int64] = []

  @OptionGroup(title: "Filters")
  var filters: DeadLetterOptions

  @Flag(help: "Retry everything that waits.")
  var all = false

  @Option(help: ArgumentHelp("For events whose domain is missing, null or blank.", valueName: "name"))
  var domain: String?

  @Option(help: ArgumentHelp("For events whose model is missing or null.", valueName: "name"))
  var model: String?

  @Flag(help: "Try everything, keep nothing.")
  var dryRun = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws { try filters.validate(ids: ids, all: all) }

  private struct Report: Encodable {
    var dryRun: Bool
    var stored: Int
    var duplicates: Int
    var failed: Int
    var notWaiting: Int
    var failedByReason: [DeadLetterQueries.ReasonCount]
    /// The first of them.
    var failures: [RetryReport.Failure]
  }

  func run() async throws {
    let settings = try options.load()
    let logger = settings.logger()
    let store = BatchStore(
      connection: try Connection(settings.connectionOptions), options: settings.connectionOptions,
      schema: try settings.storeSchema(), group: settings.kafka.group, recentKeys: 2,
      onHolderEnded: { pid, seconds in
        logger.warning(
          "ended a stalled worker's backend that held a lock",
          metadata: ["pid": "\(pid)", "held_seconds": "\(seconds)"])
      })
    let retry = DeadLetterRetry(
      store: store, rules: try settings.ingestSettings().rules,
      defaults: FieldDefaults(domain: domain, model: model), nowMicros: WallClock.now())
    let report = try retry.run(filters.filter(ids: ids), dryRun: dryRun)
    try show(report)
    if report.failedCount > 0 {
      throw CommandFailure("dead-letters: \(report.failedCount) cannot be stored and stay as they are")
    }
  }

  private func show(_ report: RetryReport) throws {
    let failed = report.failed.map {
      DeadLetterQueries.ReasonCount(reason: $0.key.rawValue, records: Int64($0.value))
    }
    .sorted { ($1.records, $0.reason) < ($0.records, $1.reason) }
    let notWaiting = DeadLetterOptions.notWaiting(
      ids, found: report.stored + report.duplicates + report.failedCount)
    if json {
      return try Console.printJSON(
        Report(
          dryRun: dryRun, stored: report.stored, duplicates: report.duplicates, failed: report.failedCount,
          notWaiting: notWaiting,
          failedByReason: failed, failures: report.failures))
    }
    Console.print(
      """
      \(dryRun ? "would be stored" : "stored"): \(NumberText.grouped(report.stored))
      stored before: \(NumberText.grouped(report.duplicates))
      failed again: \(NumberText.grouped(report.failedCount))

      """ + DeadLetterText.notWaiting(notWaiting))
    if !failed.isEmpty {
      Console.print("\n" + DeadLetterText.failures(report.failures) + "\n" + DeadLetterText.counts(failed))
    }
  }
}

struct DeadLettersDiscardCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "discard",
    abstract: "Give dead letters up: they wait no more and are never retried.",
    discussion: """
      They stay in the table until retention takes them. By filter or with --all it needs --yes.

      Examples:
        telemetry-worker dead-letters discard 17
        telemetry-worker dead-letters discard --reason invalid_json --since 2026-01-31T00:00:00Z --yes
      """)

  @Argument(help: "Their ids, as list shows them.")
  var ids: [Int64] = []

  @OptionGroup(title: "Filters")
  var filters: DeadLetterOptions

  @Flag(help: "Discard everything that waits.")
  var all = false

  @Flag(help: "Yes, all that match.")
  var yes = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    try filters.validate(ids: ids, all: all)
    if ids.isEmpty && !yes {
      throw ValidationError("Discarding by filter needs --yes; `dead-letters list` shows what matches.")
    }
  }

  private struct Report: Encodable {
    var discarded: Int
    var notWaiting: Int
  }

  func run() async throws {
    let discarded = try options.load().deadLetterQueries().discard(filters.filter(ids: ids))
    let notWaiting = DeadLetterOptions.notWaiting(ids, found: discarded)
    if json {
      try Console.printJSON(Report(discarded: discarded, notWaiting: notWaiting))
    } else {
      Console.print("discarded: \(NumberText.grouped(discarded))\n" + DeadLetterText.notWaiting(notWaiting))
    }
  }
}

struct DeadLettersExportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export",
    abstract: "Print dead letters as JSON lines.",
    discussion: """
      One object a line. Key and payload are text, or Base64 in key_base64 and payload_base64 where they are no UTF-8; \
      what was not kept is left out.

      Example:
        telemetry-worker dead-letters export --reason invalid_json --since 24h > letters.jsonl
      """)

  @Argument(help: "Their ids; without, all that match the filters.")
  var ids: [Int64] = []

  @OptionGroup(title: "Filters")
  var filters: DeadLetterOptions

  @Flag(help: "Those that were retried or discarded, instead of those that wait.")
  var resolved = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let queries = try options.load().deadLetterQueries()
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    let filter = filters.filter(ids: ids, state: !ids.isEmpty ? .any : resolved ? .resolved : .waiting)
    try queries.forEach(filter) { letter in
      Console.print(String(decoding: try encoder.encode(letter), as: UTF8.self) + "\n")
    }
  }
}
