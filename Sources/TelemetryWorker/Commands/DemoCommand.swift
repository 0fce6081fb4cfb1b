import ArgumentParser

struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Show all of it on an embedded broker and a private Postgres.",
    discussion: """
      Starts a private PostgreSQL in a temporary folder and a Kafka inside this process, generates events, ingests them \
      and prints the throughput, the busiest domains, the models, the last hours and the dead letters. Leaves nothing \
      behind unless --keep is given. Needs PostgreSQL's programs. Broker, topic and database are its own, whatever the \
      settings say.

      Example:
        telemetry-worker demo --events 1000000 --keep
      """)

  @Option(help: "Events to generate.")
  var events = 100_000

  @Option(help: "Partitions of the topic.")
  var partitions = 8

  @Option(help: "Decides which events are generated.")
  var seed: UInt64 = 1

  @Option(help: ArgumentHelp("Records that repeat an earlier one, 0 to 1.", valueName: "share"))
  var duplicates = 0.01

  @Option(help: ArgumentHelp("Malformed records, 0 to 1.", valueName: "share"))
  var malformed = 0.001

  @Flag(help: "Leave the PostgreSQL running and say how to look at it and stop it.")
  var keep = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    try OptionCheck.range(events, 1...100_000_000, "--events")
    try OptionCheck.range(partitions, 1...256, "--partitions")
    try OptionCheck.share(duplicates, "--duplicates")
    try OptionCheck.share(malformed, "--malformed")
  }

  func run() async throws {
    try await Demo(
      events: events, partitions: partitions, seed: seed, duplicates: duplicates, malformed: malformed,
      keep: keep,
      json: json, base: try options.load()
    ).run()
  }
}
