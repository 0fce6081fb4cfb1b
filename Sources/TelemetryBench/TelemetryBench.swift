import ArgumentParser
import Foundation
import Postgres
import UnixSignals

/// Measures the worker against a floor, against the obvious way, and against its targets.
@main
struct TelemetryBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "telemetry-bench",
    abstract: "Measure telemetry-worker against a floor, against the obvious way and against its targets.",
    discussion: """
      Starts a private PostgreSQL and an embedded Kafka, runs the worker beside this program as a process of its own, \
      and leaves nothing behind. Wants a quiet machine: nothing else may run meanwhile. Needs Linux and PostgreSQL's \
      programs.

      What --only takes:
        floor      the rows alone, encoded beforehand, by COPY
        busy       the worker, a million events to an hour of event time
        sparse     the worker, 33,000 to an hour
        obvious    COPY into a temporary table and one SQL statement
        clean      busy without redeliveries
        replay     busy once more, by another group, after busy
        wide       worker and floor, each batch spread over 30 days
        workers    two workers, busy
        freshness  from produced to visible, at a steady rate
        refresh    fold and refresh with more and more events stored
        idle       a worker with nothing to do

      Examples:
        telemetry-bench --markdown
        telemetry-bench --only floor,busy --rounds 5
      """)

  @Option(
    help: ArgumentHelp("What to measure; all without it.", valueName: "scenario,..."),
    transform: Self.scenarios)
  var only: Set<Scenario> = Set(Scenario.allCases)

  @Option(help: "How often each way of storing events is measured, in turns.")
  var rounds = 3

  @Option(help: "Events of busy, sparse and clean.")
  var events = 2_000_000

  @Option(help: "Events of the obvious way, the first of the same.")
  var obviousEvents = 300_000

  @Option(help: "Events of wide.")
  var wideEvents = 1_000_000

  @Option(help: "Partitions of the topics. The embedded broker keeps 5 MiB a partition.")
  var partitions = 64

  @Option(help: "Events that floor and obvious copy at once.")
  var batch = 100_000

  @Option(help: "Decides which events are generated.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("How long freshness is measured.", valueName: "seconds"))
  var freshnessSeconds = 25

  @Option(help: "Events a second for freshness.")
  var freshnessRate = 5_000

  @Option(help: ArgumentHelp("How long the idle worker is watched.", valueName: "seconds"))
  var idleSeconds = 20

  @Option(
    help: ArgumentHelp(
      "Millions of stored events at which refreshing is measured.", valueName: "millions,..."),
    transform: Self.numbers)
  var stored: [Int] = [1, 5, 10]

  @Option(help: "PostgreSQL's shared_buffers.")
  var sharedBuffers = "1GB"

  @Flag(help: "Print JSON.")
  var json = false

  @Flag(help: "Print the block for the documentation, with the machine's description.")
  var markdown = false

  func validate() throws {
    let counts = [
      (rounds, "--rounds"), (events, "--events"), (obviousEvents, "--obvious-events"),
      (wideEvents, "--wide-events"),
      (partitions, "--partitions"), (batch, "--batch"), (freshnessSeconds, "--freshness-seconds"),
      (freshnessRate, "--freshness-rate"), (idleSeconds, "--idle-seconds"),
    ]
    for (count, option) in counts where !(1...100_000_000).contains(count) {
      throw ValidationError("\(option) \(count) is out of range: 1 to 100000000.")
    }
    if json && markdown { throw ValidationError("--json and --markdown exclude each other.") }
  }

  func run() async throws {
    let began = Date()
    if Machine.load > 0.5 {
      Console.note(
        "this machine is not quiet (load \(Machine.load)): the figures will be worse than they are")
    }
    let surroundings = try Surroundings(sharedBuffers: sharedBuffers)
    let watch = Task { await Self.removeOnSignal(surroundings) }
    defer {
      watch.cancel()
      surroundings.remove()
    }
    var benchmark = Benchmark(surroundings: surroundings, sizes: sizes, selected: only)
    try await benchmark.run()
    let settings = try surroundings.describeServer()
    let report = Report(
      began: began, machine: Machine(folder: surroundings.server.folder.path, postgres: settings.version),
      serverSettings: settings.settings, sizes: sizes.listed, findings: benchmark.findings)
    if json {
      try Console.printJSON(report)
    } else {
      Console.print(markdown ? report.markdown : report.tables)
    }
  }

  private var sizes: Sizes {
    Sizes(
      rounds: rounds, events: events, obviousEvents: obviousEvents, wideEvents: wideEvents,
      partitions: partitions, batch: batch, seed: seed, freshnessSeconds: freshnessSeconds,
      freshnessRate: freshnessRate, idleSeconds: idleSeconds, storedMillions: stored)
  }

  /// Whoever interrupts a benchmark must not have to clear away its server.
  private static func removeOnSignal(_ surroundings: Surroundings) async {
    for await signal in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
      surroundings.remove()
      _exit(128 + signal.rawValue)
    }
  }

  private static func scenarios(_ text: String) throws -> Set<Scenario> {
    let allowed = Scenario.allCases.map(\.rawValue).joined(separator: ", ")
    return Set(
      try text.split(separator: ",").map { name in
        guard let scenario = Scenario(rawValue: String(name)) else {
          throw ValidationError("--only: \(name) is none of \(allowed).")
        }
        return scenario
      })
  }

  private static func numbers(_ text: String) throws -> [Int] {
    try text.split(separator: ",").map { word in
      guard let number = Int(word), (1...1_000).contains(number) else {
        throw ValidationError("--stored: \(word) is not a number of millions, 1 to 1000.")
      }
      return number
    }.sorted()
  }
}

/// The terminal, or what stands in its place.
enum Console {
  static func print(_ text: String) { write(text, to: .standardOutput) }

  /// Progress, on standard error.
  static func note(_ text: String) { write(text + "\n", to: .standardError) }

  static func printJSON(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    print(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
  }

  private static func write(_ text: String, to handle: FileHandle) {
    try? handle.write(contentsOf: Data(text.utf8))
  }
}
