import Foundation
import Testing

@testable import TelemetryWorker

@Suite struct SettingsSecretsTests {
  @Test(
    "A file may hold the database's address; its last line end is no part of it",
    arguments: ["", "\n", "\r\n"])
  func urlFile(end: String) throws {
    let url = "postgresql://app:pa ss@db/telemetry"
    try withFile(url + end) { path in
      let loaded = try load(["TELEMETRY_POSTGRES_URL_FILE": path])
      #expect(loaded.settings.postgres.url == url)
      #expect(
        loaded.origins["postgres.url"] == .secretFile(variable: "TELEMETRY_POSTGRES_URL_FILE", path: path))
    }
  }

  @Test("A file may hold librdkafka's properties, one a line")
  func propertiesFile() throws {
    let text = "# SASL\nsasl.username=app\r\n\n  sasl.password = a,b\\c=d \n"
    try withFile(text) { path in
      let properties = try load(["TELEMETRY_KAFKA_PROPERTIES_FILE": path]).settings.kafka.properties
      #expect(properties == ["sasl.username": "app", "sasl.password": "a,b\\c=d"])
    }
    try withFile("sasl.username=app\nhunter2") { path in
      let found = try problems(["TELEMETRY_KAFKA_PROPERTIES_FILE": path])
      #expect(found.first?.message.contains("line 2 is not name=value") == true)
      #expect(!"\(found)".contains("hunter2"))
    }
  }

  @Test("A secret and its file at once are refused")
  func both() throws {
    let found = try problems([
      "TELEMETRY_POSTGRES_URL": "host=a password=hunter2", "TELEMETRY_POSTGRES_URL_FILE": "/nowhere",
    ])
    #expect(found.map(\.key) == ["postgres.url"])
    #expect(found.first?.message.contains("set only one of them") == true)
    #expect(!"\(found)".contains("hunter2"))
  }

  @Test("A secret's file that is not there is named")
  func missingFile() throws {
    let found = try problems(["TELEMETRY_POSTGRES_URL_FILE": "/nowhere/url"])
    #expect(found.first?.message == "there is no such file")
    #expect(found.first?.origin?.description == "file /nowhere/url of variable TELEMETRY_POSTGRES_URL_FILE")
  }

  @Test(
    "No error shows a secret",
    arguments: [
      ["TELEMETRY_POSTGRES_URL": "mysql://app:hunter2@db/x"],
      ["TELEMETRY_POSTGRES_URL": "hunter2"],
      ["TELEMETRY_POSTGRES_URL": "postgres://app:hunter2@db/x\u{7}"],
      ["TELEMETRY_KAFKA_PROPERTIES": "sasl.password=hunter2,hunter2"],
      ["TELEMETRY_KAFKA_PROPERTIES": #"sasl.password=\hunter2"#],
      ["TELEMETRY_KAFKA_PROPERTIES": "group.id=hunter2"],
    ])
  func errorsHoldNoSecret(environment: [String: String]) throws {
    let found = try problems(environment)
    #expect(!found.isEmpty)
    #expect(!SettingsError(problems: found).description.contains("hunter2"), "\(found)")
  }

  @Test(
    "A YAML error says where but does not show the line",
    arguments: [
      "postgres:\n  url: \"postgres://app:hunter2@db", "postgres: {url: postgres://app:hunter2@db/x",
      "postgres:\n  url: hunter2\n bad: x",
    ])
  func brokenFile(yaml: String) throws {
    let found = try problems(yaml: yaml)
    #expect(found.map(\.key) == ["config"])
    #expect(found.first?.message.contains(/\d+:\d+/) == true, "\(found)")
    #expect(!"\(found)".contains("hunter2"))
  }

  @Test(
    "Secrets are refused as flags",
    arguments: [
      "postgres.url", "kafka.properties.sasl.password", "kafka.properties.ssl.key.pem",
      "kafka.properties.sasl.oauthbearer.client.secret",
    ])
  func flags(key: String) throws {
    let found = try problems(flags: [key: "hunter2"])
    #expect(found.map(\.key) == [key])
    #expect(found.first?.message.contains("must not be a process argument") == true)
    #expect(!"\(found)".contains("hunter2"))
  }

  @Test(
    "An address is shown without its passwords",
    arguments: [
      (
        "postgresql://app:hunter2@db:5432/x?sslmode=require", "postgresql://app:***@db:5432/x?sslmode=require"
      ),
      ("postgresql://app:hun@ter/2@db/x", "postgresql://app:***@db/x"),
      ("postgresql://app@db/x?password=hunter2&a=b", "postgresql://app@db/x?password=***&a=b"),
      ("postgresql://db/x?sslpassword=hunter2", "postgresql://db/x?sslpassword=***"),
      ("postgresql://db/x?%70assword=hunter2", "postgresql://db/x?%70assword=***"),
      ("host=db password=hunter2 user=app", "host=db password=*** user=app"),
      ("host = db  password = 'hun \\' ter2' user=a", "host=db password=*** user=a"),
      ("password=hun\\ ter2 host=db", "password=*** host=db"),
      ("password='hunter2", "(not shown)"),
      ("hunter2", "(not shown)"),
    ])
  func redaction(url: String, shown: String) {
    #expect(Redaction.postgresURL(url) == shown)
  }

  @Test("The settings as text show where they came from, and no secret")
  func shown() throws {
    let loaded = try load(
      [
        "TELEMETRY_POSTGRES_URL": "postgresql://app:hunter2@db/x",
        "TELEMETRY_KAFKA_PROPERTIES": #"sasl.username=a\,b,sasl.password=hunter2,ssl.key.pem=hunter2"#,
      ], flags: ["http.port": "0"])
    let shown = Dictionary(uniqueKeysWithValues: loaded.shown.map { ($0.key, "\($0.value) (\($0.origin))") })
    #expect(shown.count == SettingKey.all.count)
    #expect(shown["postgres.url"] == "postgresql://app:***@db/x (variable TELEMETRY_POSTGRES_URL)")
    #expect(
      shown["kafka.properties"]
        == #"sasl.password=***,sasl.username=a\,b,ssl.key.pem=*** (variable TELEMETRY_KAFKA_PROPERTIES)"#)
    #expect(shown["http.port"] == "0 (flag --set)")
    #expect(shown["log.level"] == "info (default)")
    #expect(!"\(shown)".contains("hunter2"))
  }
}
