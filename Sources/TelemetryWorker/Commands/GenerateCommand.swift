import ArgumentParser
import Foundation
import Kafka

struct GenerateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Produce synthetic events to a topic.",
    discussion: """
      Skewed domains and models, log-normal durations, searches, late events and repeats, about 400 bytes each, with the \
      id as key. The same seed, start and options give the same bytes. Says at the end how many a worker must store, \
      drop as repeats and reject, and why.

      Examples:
        telemetry-worker generate --count 1000000 --malformed 0.001
        telemetry-worker generate --live --rate 500 --count 0
        telemetry-worker generate --stdout --count 3 --start 2026-01-31T00:00:00Z
      """)

  @Option(help: "Records to produce; 0, with --live, goes on until it is stopped.")
  var count = 10_000

  @Option(help: "Records a second; 0 is as fast as possible.")
  var rate = 0

  @Option(help: "Decides everything that is drawn.")
  var seed: UInt64 = 1

  @Option(
    help: ArgumentHelp("The earliest event time, RFC 3339; without it the span ends now.", valueName: "time"))
  var start: TimePoint?

  @Option(
    help: ArgumentHelp("How long a time the events are spread over: 90s, 15m, 24h, 7d.", valueName: "time"))
  var span = TimeSpan(hours: 24)

  @Flag(help: "Events happen as they are produced; needs --rate.")
  var live = false

  @Option(help: ArgumentHelp("The topic; without it the first of kafka.topics.", valueName: "name"))
  var topic: String?

  @Flag(name: .customLong("stdout"), help: "Print the values, one a line, instead of producing them.")
  var toStandardOutput = false

  @Flag(help: "Print the summary as JSON.")
  var json = false

  @OptionGroup(title: "What the events are like")
  var shape: ShapeOptions

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    try OptionCheck.range(count, 0...1_000_000_000, "--count")
    try OptionCheck.range(rate, 0...10_000_000, "--rate")
    if live && rate == 0 { throw ValidationError("--live needs --rate, as --live --rate 500.") }
    if live && start != nil { throw ValidationError("--live and --start exclude each other.") }
    if count == 0 && !live { throw ValidationError("--count 0 needs --live.") }
  }

  func run() async throws {
    let settings = try options.load()
    let generator = EventGenerator(generatorOptions(now: Self.now()))
    let summary: ProductionSummary
    if toStandardOutput {
      let output = LineOutput(.standardOutput)
      summary = try await produce(generator) { _, value in try output.write(line: value) }
      try output.flush()
    } else {
      summary = try await produceToKafka(generator, settings)
    }
    try report(summary)
  }

  /// Runs the generator at the pace that was asked for.
  func produce(_ generator: EventGenerator, sink: RecordSink) async throws -> ProductionSummary {
    try await EventProduction.run(
      generator, count: count == 0 ? nil : count, pacer: Pacer(rate: rate), sink: sink)
  }

  /// Produces to the topic and returns when the broker acknowledged every record.
  func produceToKafka(_ generator: EventGenerator, _ settings: Settings) async throws -> ProductionSummary {
    let producer = try Producer(brokers: settings.brokerList, properties: settings.clientProperties)
    let topic = topic ?? settings.kafka.topics[0]
    // Asked first, so that a wrong name fails at once and not at the last record's timeout.
    _ = try producer.partitionCount(ofTopic: topic, timeoutMs: 10_000)
    let summary = try await produce(generator) { key, value in
      try producer.produce(topic: topic, key: key, value: value)
    }
    try producer.flush(timeoutMs: 60_000)
    let failed = producer.counts.failed
    guard failed == 0 else {
      let reason = producer.counts.firstError.map { "\($0)" } ?? "no reason given"
      throw CommandFailure("generate: \(failed) records were not acknowledged: \(reason)")
    }
    return summary
  }

  /// - Parameter now: Microseconds since 1970-01-01T00:00:00Z.
  func generatorOptions(now: Int64) -> GeneratorOptions {
    let timeline: EventTimeline =
      live
      ? .live(start: now, rate: rate)
      : .spread(start: start?.micros ?? now - span.micros, span: span.micros, count: count)
    return shape.options(seed: seed, timeline: timeline)
  }

  private static func now() -> Int64 { Int64(Date().timeIntervalSince1970 * 1_000) * 1_000 }

  /// The summary goes to standard error when the events go to standard output.
  private func report(_ summary: ProductionSummary) throws {
    let text = json ? try Console.json(summary) : Self.text(of: summary)
    if toStandardOutput { Console.note(String(text.dropLast())) } else { Console.print(text) }
  }

  static func text(of summary: ProductionSummary) -> String {
    var table = TextTable(.text("what a worker must do"), .number("records"))
    table.add("store", NumberText.grouped(summary.stored))
    table.add("drop as a repeat", NumberText.grouped(summary.duplicates))
    for (reason, count) in summary.rejected.sorted(by: { $0.key < $1.key }) {
      table.add("reject: \(reason)", NumberText.grouped(count))
    }
    let (records, bytes) = (NumberText.grouped(summary.records), NumberText.grouped(summary.bytes))
    return "\(records) records, \(bytes) bytes\n\n" + table.rendered(width: nil)
  }
}

/// What synthetic events are like.
struct ShapeOptions: ParsableArguments {
  @Option(help: "Customer domains.")
  var domains = 500

  @Option(help: "Models.")
  var models = 8

  @Option(help: ArgumentHelp("Requests that succeed, 0 to 1.", valueName: "share"))
  var successRate = 0.97

  @Option(help: ArgumentHelp("Requests that searched, 0 to 1.", valueName: "share"))
  var searches = 0.3

  @Option(help: ArgumentHelp("Requests with log lines, 0 to 1.", valueName: "share"))
  var logs = 0.05

  @Option(help: ArgumentHelp("Events that come late, 0 to 1.", valueName: "share"))
  var late = 0.02

  @Option(help: ArgumentHelp("Records that repeat an earlier one, 0 to 1.", valueName: "share"))
  var duplicates = 0.01

  @Option(help: ArgumentHelp("Malformed records, 0 to 1.", valueName: "share"))
  var malformed = 0.0

  func validate() throws {
    try OptionCheck.range(domains, 1...1_000_000, "--domains")
    try OptionCheck.range(models, 1...1_000, "--models")
    let shares = [
      (successRate, "--success-rate"), (searches, "--searches"), (logs, "--logs"), (late, "--late"),
      (duplicates, "--duplicates"), (malformed, "--malformed"),
    ]
    for (share, option) in shares { try OptionCheck.share(share, option) }
  }

  func options(seed: UInt64, timeline: EventTimeline) -> GeneratorOptions {
    GeneratorOptions(
      seed: seed, domains: domains, models: models, successRate: successRate, searchShare: searches,
      logShare: logs,
      lateShare: late, duplicateShare: duplicates, malformedShare: malformed, timeline: timeline)
  }
}

/// Lines to a file, many at a time.
final class LineOutput {
  private let handle: FileHandle
  private var buffer: [UInt8] = []
  private static let limit = 1 << 18

  init(_ handle: FileHandle) { self.handle = handle }

  func write(line: UnsafeRawBufferPointer) throws {
    buffer.append(contentsOf: line)
    buffer.append(UInt8(ascii: "\n"))
    if buffer.count >= Self.limit { try flush() }
  }

  func flush() throws {
    do {
      try handle.write(contentsOf: Data(buffer))
    } catch {
      throw CommandFailure("generate: writing to standard output failed: is its reader gone?")
    }
    buffer.removeAll(keepingCapacity: true)
  }
}
