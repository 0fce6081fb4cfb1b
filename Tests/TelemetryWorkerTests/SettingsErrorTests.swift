import Foundation
import Testing

@testable import TelemetryWorker

@Suite struct SettingsErrorTests {
  @Test(
    "A malformed value is refused with its key, its source, the value and what is allowed",
    arguments: [
      (
        "ingest.batch_events", "many",
        "\"many\" is not an integer; allowed: an integer from 1 to 10000000 (events)"
      ),
      ("ingest.batch_events", "0", "\"0\" is out of range"),
      ("ingest.batch_events", "99999999999999999999", "out of range"),
      ("ingest.batch_events", "1.5", "not an integer"),
      ("ingest.batch_events", "", "\"\" is not an integer"),
      ("ingest.batch_bytes", "5MB", "\"5MB\" is not a size"),
      ("ingest.batch_bytes", "9999999999GiB", "not a size"),
      ("ingest.batch_bytes", "1", "out of range; allowed: a size from 64KiB to 1GiB"),
      ("kafka.brokers", "", "\"\" is empty"),
      ("kafka.brokers", "a:0", "port must be 1 to 65535"),
      ("kafka.brokers", "a:9092,:9092", "\":9092\" is not host:port"),
      ("kafka.brokers", "a,,b", "an item is empty"),
      ("kafka.topics", "", "\"\" is empty"),
      ("kafka.topics", "a,a", "\"a\" stands there twice"),
      ("kafka.topics", "a b", "\"a b\" is not a topic name"),
      ("kafka.topics", "..", "not a topic name"),
      ("kafka.group", "", "\"\" is empty; allowed: a name"),
      ("kafka.start", "yesterday", "allowed: earliest, latest or an RFC 3339 time"),
      ("kafka.start", "2026-02-30T00:00:00Z", "RFC 3339"),
      ("postgres.schema", "Public", "allowed: a name that matches ^[a-z_][a-z0-9_]{0,62}$"),
      ("postgres.schema", "a\"; drop", "^[a-z_]"),
      ("ingest.drop_fields", "model", "\"model\" is none of these; allowed: any of conversation_id, error"),
      ("refresh.schedule", "5 * * *", "has 4 fields; it needs five"),
      ("refresh.schedule", "5 * * * $", "not a schedule: day of week \"$\""),
      ("refresh.schedule", "61 * * * *", "not a schedule: minute \"61\""),
      ("refresh.schedule", "@often", "not a schedule"),
      ("refresh.time_zone", "Mars/Olympus", "not a time zone"),
      ("refresh.time_zone", "../../etc/passwd", "not a time zone's name"),
      ("retention.raw_days", "-1", "out of range; allowed: an integer from 0 to 36500 (days; 0 keeps all)"),
      ("http.port", "65536", "out of range; allowed: an integer from 0 to 65535"),
      ("http.host", "", "\"\" is empty"),
      ("log.level", "loud", "allowed: one of trace, debug, info, notice, warning, error, critical"),
      ("log.format", "xml", "allowed: one of auto, text, json"),
      ("dead_letters.topic", "a/b", "not a topic name"),
      ("kafka.group", "a\u{7}b", "\"a\u{FFFD}b\" is not plain text: it has a control character"),
    ])
  func malformed(key: String, text: String, message: String) throws {
    let variable = "TELEMETRY_" + key.replacingOccurrences(of: ".", with: "_").uppercased()
    let found = try problems([variable: text])
    #expect(found.count == 1)
    let problem = try #require(found.first)
    #expect(problem.key == key)
    #expect(problem.origin == .variable(variable))
    #expect(problem.message.contains(message), "\(problem)")
    #expect(problem.message.contains("allowed: "), "\(problem)")
  }

  @Test(
    "An unknown key of the file is refused at any depth, with what was meant",
    arguments: [
      ("brokers: a", "brokers", "Did you mean kafka.brokers?"),
      ("kafka: {brokerz: a}", "kafka.brokerz", "Did you mean kafka.brokers?"),
      ("ingest: {batchEvents: 5}", "ingest.batchEvents", "Did you mean ingest.batch_events?"),
      ("ingest: {batch_events: {a: {b: 1}}}", "ingest.batch_events.a.b", "ingest.batch_events takes no keys"),
      ("surprise: {inside: [1]}", "surprise.inside", "unknown setting. Allowed:"),
      ("retention: 5", "retention", "a section, not a setting; allowed: retention.raw_days"),
      ("kafka: {properties: 5}", "kafka.properties", "not name=value pairs"),
    ])
  func unknownInFile(yaml: String, key: String, message: String) throws {
    let found = try problems(yaml: yaml)
    #expect(found.map(\.key) == [key])
    #expect(found.first?.message.contains(message) == true, "\(found)")
    #expect(found.first?.origin?.description.hasPrefix("file ") == true)
  }

  @Test(
    "A variable that begins with TELEMETRY_ and is no setting is refused, with what was meant",
    arguments: [
      ("TELEMETRY_KAFKA_BROKER", "Did you mean TELEMETRY_KAFKA_BROKERS?"),
      ("TELEMETRY_HTP_PORT", "Did you mean TELEMETRY_HTTP_PORT?"),
      ("TELEMETRY_POSTGRES_URL_FLIE", "Did you mean TELEMETRY_POSTGRES_URL_FILE?"),
      ("TELEMETRY_KAFKA_GROUP_FILE", "not a setting"),
      ("TELEMETRY_", "not a setting"),
    ])
  func unknownVariable(name: String, message: String) throws {
    let found = try problems([name: "9464", "TELEMETR_KAFKA": "not ours", "telemetry_x": "nor this"])
    #expect(found.map(\.key) == [name])
    #expect(found.first?.message.contains(message) == true, "\(found)")
  }

  @Test(
    "Variables that Kubernetes makes for a service called telemetry are no settings",
    arguments: [
      ("TELEMETRY_SERVICE_HOST", "10.0.0.1"), ("TELEMETRY_WORKER_SERVICE_PORT_HTTP", "9464"),
      ("TELEMETRY_WORKER_PORT", "tcp://10.0.0.1:9464"), ("TELEMETRY_PORT_9464_TCP", "tcp://10.0.0.1:9464"),
      ("TELEMETRY_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ])
  func serviceLinks(name: String, value: String) throws {
    #expect(try problems([name: value]).isEmpty)
  }

  @Test(
    "Properties that the worker owns are refused by name, whoever sets them",
    arguments: [
      "group.id", "enable.auto.commit", "auto.commit.interval.ms", "enable.auto.offset.store",
      "auto.offset.reset",
      "isolation.level", "partition.assignment.strategy", "bootstrap.servers",
    ])
  func ownedProperties(name: String) throws {
    let sources = [
      try problems(yaml: "kafka: {properties: {\(name): x}}"),
      try problems(["TELEMETRY_KAFKA_PROPERTIES": "\(name)=x"]),
      try problems(flags: ["kafka.properties.\(name)": "x"]),
    ]
    for found in sources {
      #expect(found.map(\.key) == ["kafka.properties.\(name)"])
      #expect(found.first?.message.hasPrefix("the worker owns this property: ") == true)
    }
  }

  @Test(
    "Malformed property lists are refused by entry",
    arguments: [
      ("a=b,c", "entry 2 is not name=value"), ("=b", "entry 1 is not name=value"), (#"a=b\n"#, "backslash"),
      (#"a=b\"#, "backslash stands at its end"), ("a=1,a=2", "entry 2 repeats \"a\""),
    ])
  func malformedProperties(text: String, message: String) throws {
    let found = try problems(["TELEMETRY_KAFKA_PROPERTIES": text])
    #expect(found.map(\.key) == ["kafka.properties"])
    #expect(found.first?.message.contains(message) == true, "\(found)")
  }

  @Test(
    "Retention that does not nest names both settings and both sources",
    arguments: [
      (
        ["retention.raw_days": "91"], "retention.raw_days",
        "91 is longer than retention.hour_days, 90 (default)"
      ),
      (
        ["retention.hour_days": "0"], "retention.hour_days",
        "0 (keep all) is longer than retention.day_days, 400"
      ),
    ])
  func crossCheck(flags: [String: String], key: String, message: String) throws {
    let found = try problems(flags: flags)
    #expect(found.map(\.key) == [key])
    #expect(found.first?.message.contains(message) == true, "\(found)")
    #expect(found.first?.origin == .flag("--set"))
  }

  @Test("Dead letters may not be copied to a topic that is consumed")
  func deadLetterLoop() throws {
    let found = try problems(flags: ["kafka.topics": "a,b", "dead_letters.topic": "b"])
    #expect(found.map(\.key) == ["dead_letters.topic"])
  }

  @Test("All errors of all sources are reported at once")
  func allAtOnce() throws {
    let found = try problems(
      yaml: "http: {port: x}\nextra: 1", ["TELEMETRY_LOG_LEVEL": "loud", "TELEMETRY_X": "1"],
      flags: ["ingest.flush_ms": "0"])
    #expect(
      Set(found.map(\.key)) == ["http.port", "extra", "log.level", "TELEMETRY_X", "ingest.flush_ms"])
  }

  @Test("A setting given twice in the file, nested and with dots, is refused")
  func twiceInFile() throws {
    let found = try problems(yaml: "kafka.group: a\nkafka: {group: b}")
    #expect(found.map(\.key) == ["kafka.group"])
    #expect(found.first?.message.contains("given twice") == true)
  }

  @Test("A setting given twice on the command line is refused")
  func twice() throws {
    let flags = ["--kafka-group", "--set"].map {
      SettingAssignment(key: "kafka.group", value: .text("a"), origin: .flag($0))
    }
    #expect(throws: SettingsError.self) { try SettingsLoader.load(flags: SourceResult(assignments: flags)) }
  }
}
