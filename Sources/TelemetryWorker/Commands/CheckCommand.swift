import ArgumentParser
import Kafka
import Postgres
import Store

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Check settings, broker, topics, database, encoding, privileges and schema.",
    discussion: """
      Says each, goes on after a failure and changes nothing. Exits with 78 when the settings are wrong, with 1 when \
      anything else is.

      Example:
        telemetry-worker check --config config/worker.yaml --json
      """)

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup(title: "Settings")
  var options: SettingsOptions

  func run() async throws {
    let loaded = try options.loadWithOrigins()
    var report = CheckReport()
    let fromElsewhere = loaded.origins.count
    report.pass("settings", "all valid, \(fromElsewhere) set, the others at their defaults")
    checkKafka(loaded.settings, &report)
    checkDatabase(loaded.settings, &report)
    if json { try Console.printJSON(report) } else { Console.print(report.table) }
    if !report.ok {
      throw CommandFailure("check: \(report.failures) of \(report.checks.count) checks failed")
    }
  }

  // MARK: Kafka

  private func checkKafka(_ settings: Settings, _ report: inout CheckReport) {
    do throws(KafkaError) {
      let consumer = try Consumer(
        brokers: settings.brokerList, group: settings.kafka.group, properties: settings.clientProperties)
      defer { consumer.close(timeoutMs: 1_000) }
      let cluster = try consumer.clusterID(timeoutMs: 5_000)
      report.pass("broker", "\(settings.brokerList), cluster \(cluster ?? "without an id")")
      let consumed = settings.kafka.topics.map { (name: $0, use: "") }
      let copiedTo = settings.deadLetters.topic.map { (name: $0, use: ", for dead letters") }
      for topic in consumed + [copiedTo].compactMap(\.self) {
        do throws(KafkaError) {
          let count = try consumer.partitionCount(ofTopic: topic.name, timeoutMs: 5_000)
          report.pass("topic \(topic.name)", "\(count) partitions\(topic.use)")
        } catch {
          report.fail("topic \(topic.name)", "\(error)")
        }
      }
    } catch {
      report.fail("broker", "\(settings.brokerList): \(error)")
    }
  }

  // MARK: PostgreSQL

  private func checkDatabase(_ settings: Settings, _ report: inout CheckReport) {
    do {
      let schema = try settings.storeSchema()
      let connection = try Connection(settings.connectionOptions)
      let (major, minor) = connection.serverVersion.quotientAndRemainder(dividingBy: 10_000)
      let version = "PostgreSQL \(major).\(minor) at \(connection.peer)"
      if major >= 15 {
        report.pass("database", version)
      } else {
        report.fail("database", "\(version): 15 or later is needed")
      }
      let isReadOnly = try connection.query(
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean",
        operation: "ask whether the server takes writes"
      ).rows[0].bool(0)
      if isReadOnly {
        report.fail("writes", "the server is read-only")
      } else {
        report.pass("writes", "accepted")
      }
      try checkEncoding(connection, &report)
      checkSchema(schema, connection, &report)
    } catch {
      report.fail("database", "\(error)")
    }
  }

  private func checkEncoding(_ connection: Connection, _ report: inout CheckReport) throws(PostgresError) {
    let encoding = try connection.query("SHOW server_encoding", operation: "read the database's encoding")
      .rows[0].text(0)
    if encoding == "UTF8" {
      report.pass("encoding", encoding)
    } else {
      report.fail(
        "encoding",
        "the database's encoding is \(encoding), which does not hold every event's text: make one with "
          + "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'")
    }
  }

  private func checkSchema(_ schema: Schema, _ connection: Connection, _ report: inout CheckReport) {
    do {
      let pending = try schema.migrationRunner.pending(connection)
      if pending.isEmpty {
        report.pass("schema", "\(schema.name) is up to date")
      } else {
        let names = pending.map { "\($0.version) \($0.name)" }.joined(separator: ", ")
        report.fail("schema", "\(schema.name) lacks \(names): run telemetry-worker migrate")
        return
      }
      let missing = try Grants(schema: schema).missing(connection)
      if missing.isEmpty {
        report.pass("privileges", "sufficient")
      } else {
        report.fail(
          "privileges",
          "missing \(missing.joined(separator: ", ")): run telemetry-worker migrate --grant ROLE as the owner"
        )
      }
      try checkTemporaryTables(schema, connection, &report)
    } catch let error as PostgresError where error.sqlState == .insufficientPrivilege {
      report.fail("privileges", "\(error): run telemetry-worker migrate --grant ROLE as the owner")
    } catch {
      report.fail("schema", "\(error)")
    }
  }
}

extension CheckCommand {
  /// A refresh beside readers needs them, for the views' owner and not for the worker's role.
  private func checkTemporaryTables(
    _ schema: Schema, _ connection: Connection, _ report: inout CheckReport
  ) throws(PostgresError) {
    let lacking = try Grants(schema: schema).viewOwnersWithoutTemporaryTables(connection)
    if lacking.isEmpty {
      report.pass("temporary tables", "allowed to the views' owner")
      return
    }
    for each in lacking {
      report.fail(
        "temporary tables",
        "the summary views cannot be refreshed, for their owner may not make temporary tables: "
          + "GRANT TEMPORARY ON DATABASE \(each.database) TO \(each.role)")
    }
  }
}

/// What `check` found.
struct CheckReport: Encodable {
  struct Check: Encodable {
    var name: String
    var ok: Bool
    var detail: String
  }

  private(set) var ok = true
  private(set) var checks: [Check] = []

  var failures: Int { checks.count { !$0.ok } }

  mutating func pass(_ name: String, _ detail: String) {
    checks.append(Check(name: name, ok: true, detail: detail))
  }

  mutating func fail(_ name: String, _ detail: String) {
    checks.append(Check(name: name, ok: false, detail: detail))
    ok = false
  }

  var table: String {
    var table = TextTable(.text("check"), .text("result"), .text("detail"))
    for check in checks { table.add(check.name, check.ok ? "ok" : "FAILED", check.detail) }
    // Not cut to the terminal: what to do stands at the end of a detail.
    return table.rendered(width: nil)
  }
}
