import Foundation
import Logging
import Testing

@testable import TelemetryWorker

@Suite struct SettingsPrecedenceTests {
  private let yaml = """
    kafka:
      brokers: [one:9092, two:9092]
      topics: from-file
      group: from-file
    ingest:
      batch_bytes: 1MiB
    """

  @Test("Without any source the defaults of the documentation hold")
  func defaults() throws {
    let settings = try load().settings
    #expect(settings.kafka.brokers == ["localhost:9092"])
    #expect(settings.kafka.topics == ["chat-telemetry"])
    #expect(settings.kafka.group == "telemetry-worker")
    #expect(settings.kafka.start == .earliest)
    #expect(settings.postgres.url == nil)
    #expect(settings.postgres.schema == "public")
    #expect(settings.ingest.batchBytes == 16_777_216)
    #expect(settings.refresh.schedule == "5 * * * *")
    #expect(settings.refresh.afterEvents == 10_000)
    #expect(settings.refresh.minIntervalSeconds == 10)
    #expect(
      settings.retention
        == .init(rawDays: 30, hourDays: 90, dayDays: 400, deadLetterDays: 30, refreshLogDays: 30))
    #expect(settings.http == .init(host: "127.0.0.1", port: 9_464))
    #expect(settings.log == .init(level: .info, format: .auto))
    #expect(settings.deadLetters.topic == nil)
  }

  @Test("A flag beats a variable, a variable the file, the file the default; each value's origin is known")
  func precedence() throws {
    let loaded = try load(
      yaml: yaml, ["TELEMETRY_KAFKA_TOPICS": "from-variable", "TELEMETRY_KAFKA_GROUP": "from-variable"],
      flags: ["kafka.group": "from-flag"])
    #expect(loaded.settings.kafka.brokers == ["one:9092", "two:9092"])
    #expect(loaded.settings.kafka.topics == ["from-variable"])
    #expect(loaded.settings.kafka.group == "from-flag")
    #expect(loaded.settings.ingest.batchBytes == 1_048_576)
    #expect(loaded.settings.ingest.flushMs == Settings().ingest.flushMs)
    #expect(loaded.origins["kafka.group"] == .flag("--set"))
    #expect(loaded.origins["kafka.topics"] == .variable("TELEMETRY_KAFKA_TOPICS"))
    #expect(loaded.origins["kafka.brokers"]?.description.hasPrefix("file ") == true)
    #expect(loaded.origins["ingest.flush_ms"] == nil)
  }

  @Test("TELEMETRY_CONFIG names the file unless --config does")
  func configVariable() throws {
    try withFile("kafka: {group: a}") { first in
      let environment = ["TELEMETRY_CONFIG": first]
      let byVariable = try load(environment)
      let byFlag = try load(yaml: "kafka: {group: b}", environment)
      #expect(byVariable.settings.kafka.group == "a")
      #expect(byFlag.settings.kafka.group == "b")
    }
  }

  @Test("librdkafka properties of all sources come together, one by one by precedence")
  func properties() throws {
    let loaded = try load(
      yaml: """
        kafka:
          properties:
            security.protocol: SSL
            ssl:
              ca.location: /from/file
            client.id: file
        """,
      ["TELEMETRY_KAFKA_PROPERTIES": #"client.id=a\,b\\c,sasl.username=x=y"#],
      flags: ["kafka.properties.security.protocol": "PLAINTEXT"])
    #expect(
      loaded.settings.kafka.properties == [
        "security.protocol": "PLAINTEXT", "ssl.ca.location": "/from/file", "client.id": #"a,b\c"#,
        "sasl.username": "x=y",
      ])
  }

  @Test(
    "Every kind of value is read from text",
    arguments: [
      ("kafka.start", "latest"), ("kafka.start", "2026-01-31T12:00:00Z"), ("ingest.batch_bytes", "2 MiB"),
      ("ingest.batch_bytes", "2097152"), ("ingest.drop_fields", "error, ip_address"),
      ("refresh.schedule", ""),
      ("refresh.time_zone", "UTC"), ("log.level", "warning"), ("log.format", "json"),
      ("dead_letters.topic", "dlq"),
      ("http.port", "0"), ("kafka.brokers", "[::1]:9092,kafka"), ("postgres.schema", "_telemetry2"),
    ])
  func accepted(key: String, text: String) throws {
    #expect(try problems(flags: [key: text]).isEmpty)
  }

  @Test("Values that mean the same are the same")
  func values() throws {
    let settings = try load(flags: [
      "kafka.start": "2026-01-31T13:00:00.5+01:00", "ingest.batch_bytes": "2 MiB", "refresh.schedule": "",
      "ingest.drop_fields": "error, ip_address", "log.level": "warning",
    ]).settings
    // date -u -d 2026-01-31T12:00:00Z +%s
    #expect(settings.kafka.start == .time(micros: 1_769_860_800_500_000))
    #expect(settings.ingest.batchBytes == 2_097_152)
    #expect(settings.refresh.schedule == nil)
    #expect(settings.ingest.dropFields == ["error", "ip_address"])
    #expect(settings.log.level == .warning)
  }

  @Test("Zero keeps all and is the longest retention")
  func retention() throws {
    let all = ["retention.raw_days": "0", "retention.hour_days": "0", "retention.day_days": "0"]
    #expect(try problems(flags: all).isEmpty)
    #expect(try problems(flags: ["retention.day_days": "0"]).isEmpty)
    #expect(try problems(flags: ["retention.raw_days": "400", "retention.hour_days": "400"]).isEmpty)
  }
}
