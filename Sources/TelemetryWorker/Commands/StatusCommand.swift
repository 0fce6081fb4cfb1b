import ArgumentParser
import Kafka
import Postgres
import Store

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract:
      "Show positions and lag, the views, who coordinates, the dead letters and the days of raw rows.",
    discussion: """
      Reads the database, and the ends of the partitions from the brokers; changes nothing. Brokers that do not answer \
      leave the lag out and cost a few seconds.

      Example:
        telemetry-worker status --json
      """)

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let settings = try options.load()
    let status = try WorkerStatus.read(settings)
    if json { try Console.printJSON(status) } else { Console.print(StatusText.all(status)) }
  }
}

/// How things stand, for people and programs.
struct WorkerStatus: Encodable {
  var positions: [StatusReader.Position]
  var views: [StatusReader.View]
  var coordinator: StatusReader.Coordinator?
  var deadLetters: [StatusReader.DeadLetters]
  var retention: StatusReader.Retention
  /// Those that are not done.
  var backfills: [StatusReader.Backfill]
  /// Why the brokers' part is missing; nil when it is there.
  var brokerError: String?

  /// Views with pending events that are older than this are called stale, in seconds.
  static let maxAgeSeconds: Double = 7_200

  static func read(_ settings: Settings) throws -> WorkerStatus {
    let reader = StatusReader(
      connection: try Connection(settings.connectionOptions), schema: try settings.storeSchema())
    var status = WorkerStatus(
      positions: try reader.positions(), views: try reader.views(maxAgeSeconds: maxAgeSeconds),
      coordinator: try reader.coordinator(), deadLetters: try reader.deadLetters(),
      retention: try reader.retention(rawDays: settings.retention.rawDays), backfills: try reader.backfills())
    do throws(KafkaError) {
      try status.addEnds(settings)
    } catch {
      status.brokerError = error.description
    }
    return status
  }

  private mutating func addEnds(_ settings: Settings) throws(KafkaError) {
    guard !positions.isEmpty else { return }
    let consumer = try Consumer(
      brokers: settings.brokerList, group: settings.kafka.group, properties: settings.clientProperties)
    defer { consumer.close(timeoutMs: 1_000) }
    for index in positions.indices {
      let partition = TopicPartition(
        topic: positions[index].topic, partition: positions[index].partition)
      guard let end = try end(of: partition, consumer) else { continue }
      positions[index].endOffset = end
      let lag = max(0, end - positions[index].nextOffset)
      positions[index].lagRecords = lag
      positions[index].lagSeconds = lag == 0 ? 0 : positions[index].lastRecordAgeSeconds
    }
  }

  /// Nil for a topic that is gone: its position stays in the database, and must not hide the others' lag.
  private func end(of partition: TopicPartition, _ consumer: Consumer) throws(KafkaError) -> Int64? {
    do throws(KafkaError) {
      return try consumer.watermarks(of: partition, timeoutMs: 3_000).high
    } catch {
      if error.isUnknownTopicOrPartition { return nil }
      throw error
    }
  }
}

/// The same as tables.
enum StatusText {
  static func all(_ status: WorkerStatus) -> String {
    var text = "Partitions\n" + positions(status.positions)
    if let error = status.brokerError { text += "(no ends and no lag: \(error))\n" }
    text += "\nViews\n" + views(status.views)
    if let coordinator = status.coordinator {
      text += "\nCoordinator: \(coordinator.holder), since \(coordinator.since)\n"
    } else {
      text += "\nCoordinator: nobody holds the lease\n"
    }
    text += "\nDead letters that wait\n" + deadLetters(status.deadLetters)
    text += "\nRaw rows: \(retention(status.retention))\n"
    if !status.backfills.isEmpty { text += "\nBackfills that are not done\n" + backfills(status.backfills) }
    return text
  }

  static func retention(_ days: StatusReader.Retention) -> String {
    guard let oldest = days.oldestRawDay else { return "none; \(days.droppedDays) days dropped" }
    var text = "\(days.rawDays) days since \(oldest)"
    text += days.nextDropAt.map { ", the next one goes from \($0) on" } ?? ", kept for ever"
    if days.overdueDays > 0 { text += ", \(days.overdueDays) overdue" }
    text += "; \(days.droppedDays) dropped"
    if days.lateEvents > 0 { text += ", \(NumberText.grouped(days.lateEvents)) events came after that" }
    return text
  }

  static func positions(_ positions: [StatusReader.Position]) -> String {
    var table = TextTable(
      .text("group"), .text("topic"), .number("partition"), .number("position"), .number("end"),
      .number("lag"),
      .number("lag s"))
    for each in positions {
      table.add(
        each.group, each.topic, "\(each.partition)", NumberText.grouped(each.nextOffset),
        each.endOffset.map { NumberText.grouped($0) } ?? "-",
        each.lagRecords.map { NumberText.grouped($0) } ?? "-",
        each.lagSeconds.map(seconds) ?? "-")
    }
    return table.rendered(width: Console.width)
  }

  static func views(_ views: [StatusReader.View]) -> String {
    var table = TextTable(
      .text("view"), .number("rows"), .number("kB"), .text("last refresh"), .number("age s"), .number("ms"),
      .number("pending"), .text("verdict"))
    for each in views {
      table.add(
        each.name, NumberText.grouped(each.rows), NumberText.grouped(each.bytes / 1_024),
        each.lastRefreshedAt ?? "never", each.ageSeconds.map(seconds) ?? "-",
        each.lastRefreshMs.map { "\($0)" } ?? "-", NumberText.grouped(each.pendingEvents),
        each.lastError.map { "failing: \($0)" } ?? (each.stale ? "stale" : "fresh"))
    }
    return table.rendered(width: nil)
  }

  static func deadLetters(_ letters: [StatusReader.DeadLetters]) -> String {
    if letters.isEmpty { return "none\n" }
    var table = TextTable(.text("reason"), .number("records"), .number("last 24 h"))
    for each in letters {
      table.add(each.reason, NumberText.grouped(each.unresolved), NumberText.grouped(each.last24Hours))
    }
    return table.rendered(width: Console.width)
  }

  static func backfills(_ backfills: [StatusReader.Backfill]) -> String {
    var table = TextTable(.text("job"), .text("started"), .number("records"), .number("to go"))
    for each in backfills {
      table.add(
        each.job, each.startedAt, NumberText.grouped(each.records), NumberText.grouped(each.remaining))
    }
    return table.rendered(width: Console.width)
  }

  private static func seconds(_ value: Double) -> String { NumberText.grouped(String(Int(value.rounded()))) }
}

extension NumberText {
  static func grouped(_ number: Int64) -> String { grouped(String(number)) }
}
