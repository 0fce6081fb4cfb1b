import ArgumentParser

/// The program. Every command's errors end here, so that exit codes are decided in one place.
@main
struct TelemetryWorker: AsyncParsableCommand {
  static let version = "0.1.0"

  static let configuration = CommandConfiguration(
    commandName: "telemetry-worker",
    abstract: "Stores chat telemetry from Kafka in Postgres, with rollups and summary views kept up to date.",
    discussion: """
      Example, from an empty database to a running worker:
        export TELEMETRY_POSTGRES_URL_FILE=/run/secrets/postgres-url
        telemetry-worker migrate
        telemetry-worker check
        telemetry-worker run

      Exit codes: 0 done, 1 failed, 64 wrong usage, 75 a backfill was stopped and can go on, 78 wrong settings.
      """,
    version: version,
    subcommands: [
      RunCommand.self, MigrateCommand.self, CheckCommand.self, StatusCommand.self, RefreshCommand.self,
      BackfillCommand.self, VerifyCommand.self, RebuildCommand.self, DeadLettersCommand.self,
      OffsetsCommand.self, ReportCommand.self, HealthCommand.self, GenerateCommand.self, DemoCommand.self,
    ])

  static func main() async {
    Memory.bound()
    do {
      var command = try parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch {
      Exit.end(self, with: error)
    }
  }
}
