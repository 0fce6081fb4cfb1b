import ArgumentParser
import Postgres
import Store

struct MigrateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "migrate",
    abstract: "Create or upgrade the tables, views and functions.",
    discussion: """
      Each migration runs in a transaction of its own, one process at a time. Running it again changes nothing. A \
      database newer than this program is refused, and so is a chat_telemetry that it did not make.

      Example, as the owner of the schema, for a worker that logs in as telemetry_app:
        telemetry-worker migrate --plan
        telemetry-worker migrate --grant telemetry_app
      """)

  @Flag(help: "Show what would run, and change nothing.")
  var plan = false

  @Option(
    help: ArgumentHelp("Give this role what the worker needs, and no more. Repeatable.", valueName: "role"))
  var grant: [String] = []

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let settings = try options.load()
    let schema = try settings.storeSchema()
    let connection = try Connection(settings.connectionOptions)
    let runner = schema.migrationRunner
    var report = Report(schema: schema.name)
    if plan {
      report.pending = try runner.pending(connection).map(Step.init)
    } else {
      try schema.create(connection)
      try runner.run(connection) { applied in
        report.applied.append(Step(applied))
        if !json { Console.print("applied \(applied.version) \(applied.name)\n") }
      }
      for role in grant {
        try Grants(schema: schema).give(to: role, connection)
        report.granted.append(role)
      }
    }
    if json { try Console.printJSON(report) } else { Console.print(report.text(isPlan: plan)) }
  }

  struct Step: Encodable {
    var version: Int
    var name: String

    init(_ migration: Migration) {
      version = migration.version
      name = migration.name
    }
  }

  struct Report: Encodable {
    var schema: String
    var applied: [Step] = []
    var pending: [Step] = []
    var granted: [String] = []

    /// The last lines for people.
    func text(isPlan: Bool) -> String {
      if isPlan {
        if pending.isEmpty { return "schema \(schema) is up to date\n" }
        return pending.map { "would apply \($0.version) \($0.name)\n" }.joined()
      }
      let grants = granted.map { "granted to \($0) what the worker needs\n" }.joined()
      return grants + "schema \(schema) is up to date\n"
    }
  }
}
