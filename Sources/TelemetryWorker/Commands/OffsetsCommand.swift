import ArgumentParser
import Kafka
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry

struct OffsetsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "offsets",
    abstract: "Set a group's positions, to read a topic again or to skip a part of it.",
    discussion: """
      The positions are in chat_telemetry_offsets; `status` shows them. What the group committed in Kafka only informs \
      other tools, and follows at the worker's next commit.

      Example, after an incident, with the workers stopped:
        telemetry-worker offsets reset --topic chat-telemetry --to 12h
        telemetry-worker offsets reset --topic chat-telemetry --to 12h --execute
      """,
    subcommands: [OffsetsResetCommand.self])
}

struct OffsetsResetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reset",
    abstract: "Show what setting a topic's positions would do, and with --execute do it.",
    discussion: """
      --to is earliest, latest, an offset, an RFC 3339 time or how long ago (12h, 7d). A time means the first record \
      stamped then or later, or the end where there is none. Without --execute nothing is changed.

      Records read again add nothing while the raw rows of their days are kept. Records skipped are never read by this \
      group: a gap of your own choosing. The group's workers must be stopped.

      Examples:
        telemetry-worker offsets reset --topic chat-telemetry --to earliest
        telemetry-worker offsets reset --topic chat-telemetry --to 2026-01-31T12:00:00Z --execute
        telemetry-worker offsets reset --topic chat-telemetry --partition 3 --to 81250 --execute
      """)

  @Option(help: ArgumentHelp("The topic.", valueName: "name"))
  var topic: String

  @Option(
    help: ArgumentHelp("earliest, latest, an offset, an RFC 3339 time or an age as 12h.", valueName: "place"))
  var to: ReplayPoint

  @Option(
    name: .customLong("partition"),
    help: ArgumentHelp("Only this partition. Repeatable; without it all.", valueName: "number"))
  var partitions: [Int32] = []

  @Option(help: ArgumentHelp("The consumer group; without it kafka.group.", valueName: "name"))
  var group: String?

  @Flag(help: "Do it.")
  var execute = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func validate() throws {
    if let wrong = partitions.first(where: { $0 < 0 }) {
      throw ValidationError("--partition \(wrong) is out of range: 0 and up.")
    }
    if Set(partitions).count < partitions.count {
      throw ValidationError("--partition names a partition twice.")
    }
  }

  func run() async throws {
    let settings = try options.load()
    let schema = try settings.storeSchema()
    let connection = try Connection(settings.connectionOptions)
    try schema.refuseUnlessMigrated(connection)
    let group = group ?? settings.kafka.group
    let consumer = try Consumer(
      brokers: settings.brokerList, group: group, properties: settings.clientProperties)
    defer { consumer.close(timeoutMs: 1_000) }
    let positions = Positions(connection: connection, schema: schema, group: group)
    let planner = OffsetsPlanner(consumer: consumer, positions: positions, nowMicros: WallClock.now())
    var plan = try planner.plan(group: group, topic: topic, to: to, only: partitions)
    plan.workers = try workers(of: group, consumer, StatusReader(connection: connection, schema: schema))
    if execute {
      guard plan.workers.isEmpty else {
        throw CommandFailure(
          "offsets: the group \(group) is at work: \(plan.workers.joined(separator: ", ")). Stop its workers; one "
            + "that was killed counts until its session times out. Nothing was changed")
      }
      try positions.reset(plan.changes, clusterID: plan.clusterID)
      plan.executed = true
    }
    if json { try Console.printJSON(plan) } else { Console.print(plan.text) }
  }

  /// Who would be disturbed. Brokers that do not tell who is in a group leave the coordinator's lease as a sign; the
  /// fence of every batch makes up for what neither shows.
  private func workers(
    of group: String, _ consumer: Consumer, _ status: StatusReader
  ) throws -> [String] {
    if let members = try consumer.members(ofGroup: group, timeoutMs: 10_000) {
      return members.map { "\($0.clientID) at \($0.host)" }
    }
    return try status.coordinator().map { ["\($0.holder), which holds the coordinator's lease"] } ?? []
  }
}
