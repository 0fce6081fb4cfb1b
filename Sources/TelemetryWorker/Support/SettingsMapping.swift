import Coordinator
import Foundation
import Kafka
import Logging
import Monitoring
import Pipeline
import Postgres
import Store
import Telemetry

/// The settings as each module wants them.
extension Settings {
  var connectionOptions: ConnectionOptions {
    // Without a URL everything comes from libpq's own defaults and PG* variables.
    ConnectionOptions(conninfo: postgres.url ?? "")
  }

  func storeSchema() throws -> Schema { try Schema(postgres.schema) }

  var brokerList: String { kafka.brokers.joined(separator: ",") }

  var clientProperties: KafkaProperties { KafkaProperties(kafka.properties) }

  func ingestSettings() throws -> IngestSettings {
    IngestSettings(
      brokers: brokerList, topics: kafka.topics, group: kafka.group, properties: clientProperties,
      start: startPosition, rules: decodingRules, batchEvents: ingest.batchEvents,
      batchBytes: ingest.batchBytes,
      flushMs: ingest.flushMs, shutdownDeadlineSeconds: ingest.shutdownDeadlineSeconds,
      database: DatabaseSettings(
        connection: connectionOptions, schema: try storeSchema(), group: kafka.group,
        recentKeys: ingest.recentKeys))
  }

  func coordinatorSettings() throws -> CoordinatorSettings {
    let zone = try CronZone(refresh.timeZone)
    let schedule = try refresh.schedule.map { (expression) throws(CronError) in
      try CronSchedule(expression, zone: zone)
    }
    return CoordinatorSettings(
      connection: connectionOptions, schema: try storeSchema(),
      trigger: RefreshTrigger(
        schedule: schedule, afterEvents: Int64(refresh.afterEvents),
        minInterval: Int64(refresh.minIntervalSeconds) * 1_000_000),
      retention: RetentionSettings(
        rawDays: retention.rawDays, hourDays: retention.hourDays, dayDays: retention.dayDays,
        deadLetterDays: retention.deadLetterDays, refreshLogDays: retention.refreshLogDays),
      holder: Self.processName)
  }

  /// Names this process among the replicas: containers often share process ids, and sometimes host names.
  private static var processName: String {
    let process = ProcessInfo.processInfo
    let random = String(UInt32.random(in: 0 ... .max), radix: 36)
    return "\(process.hostName)/\(process.processIdentifier)/\(random)"
  }

  private var startPosition: Pipeline.StartPosition {
    switch kafka.start {
    case .earliest: .earliest
    case .latest: .latest
    case .time(let micros): .time(micros / 1_000)
    }
  }

  private var decodingRules: DecodingRules {
    DecodingRules(
      maxAgeDays: ingest.maxAgeDays, maxFutureSeconds: ingest.maxFutureSeconds,
      dropFields: Set(ingest.dropFields.compactMap { DroppableField(rawValue: $0) }))
  }

  func logger() -> Logger {
    let format: Monitoring.LogFormat =
      switch log.format {
      case .auto: .automatic
      case .text: .text
      case .json: .json
      }
    var logger = Logger(label: "telemetry-worker") { label in
      LineLogHandler(label: label, format: format, level: log.level)
    }
    logger.logLevel = log.level
    return logger
  }
}
