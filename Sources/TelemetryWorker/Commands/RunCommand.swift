import ArgumentParser

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Consume, store and coordinate until SIGTERM or SIGINT.",
    discussion: """
      Any number of replicas may run; they share the partitions, and one of them coordinates. A first signal writes and \
      commits what is in hand and leaves the group, a second one ends at once.

      Example:
        telemetry-worker run --config config/worker.yaml --set ingest.flush_ms=50

      \(SettingKey.reference)
      """)

  enum Role: String, ExpressibleByArgument, CaseIterable, Sendable {
    case all
    case consumer
    case coordinator
  }

  @Option(help: "Which part of the work this process takes.")
  var role = Role.all

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    try await Worker(settings: try options.load(), role: role).run()
  }
}
