import Foundation
import Kafka
import Postgres
import Store
import TestSupport
import Testing

@Suite("check", .timeLimit(.minutes(2)))
struct CheckTests {
  private struct Report: Decodable {
    var ok: Bool
    var checks: [Check]

    struct Check: Decodable {
      var name: String
      var ok: Bool
      var detail: String
    }

    func failed(_ name: String) -> String? { checks.first { $0.name == name && !$0.ok }?.detail }
  }

  private let cluster: MockCluster

  init() throws {
    cluster = try MockCluster(brokers: 1)
    try cluster.createTopic("chat-telemetry", partitions: 2)
  }

  private func check(_ url: String, _ more: [String: String] = [:]) throws -> (code: Int32, report: Report) {
    let variables = [
      "TELEMETRY_KAFKA_BROKERS": cluster.bootstrapServers, "TELEMETRY_POSTGRES_URL": url,
    ]
    let result = try execute(["check", "--json"], environment: variables.merging(more) { $1 })
    return (result.code, try JSONDecoder().decode(Report.self, from: result.output))
  }

  /// A database of its own in the tests' server; removed with it.
  private func database(_ name: String, owner: String = "postgres", encoding: String = "UTF8") throws
    -> String
  {
    let test = try TestDatabase(migrated: false)
    let name = test.role(name)
    try test.execute(
      """
      CREATE DATABASE \(name) OWNER \(owner) TEMPLATE template0 ENCODING '\(encoding)' LC_COLLATE 'C' LC_CTYPE 'C'
      """)
    return test.options.conninfo.dropLast("postgres".count) + name
  }

  @Test("All is well where all is well, and the dead letters' topic is looked for too")
  func topics() throws {
    let test = try TestDatabase()
    let schema = ["TELEMETRY_POSTGRES_SCHEMA": test.schema.name]
    try cluster.createTopic("letters", partitions: 3)
    let letters = schema.merging(["TELEMETRY_DEAD_LETTERS_TOPIC": "letters"]) { $1 }
    let good = try check(test.options.conninfo, letters)
    #expect(good.code == 0 && good.report.ok, "\(good.report)")
    #expect(
      good.report.checks.contains {
        $0.name == "topic letters" && $0.detail == "3 partitions, for dead letters"
      })
    cluster.setTopicError("letters", 3)  // UNKNOWN_TOPIC_OR_PART
    let missing = try check(test.options.conninfo, letters)
    #expect(missing.code == 1 && missing.report.failed("topic letters") != nil)
    #expect(try check(test.options.conninfo, schema).code == 0)
  }

  @Test("A database that cannot hold every text fails, whatever else it is")
  func encoding() throws {
    let found = try check(database("latin", encoding: "LATIN1"))
    #expect(found.code == 1)
    #expect(found.report.failed("encoding")?.contains("LATIN1") == true, "\(found.report)")
  }

  /// REFRESH MATERIALIZED VIEW CONCURRENTLY fills a temporary table with the rights of the view's owner; the first
  /// refresh, which is not concurrent, does not.
  @Test("Views whose owner may not make temporary tables fail the check, as they fail to be refreshed")
  func temporary() throws {
    let test = try TestDatabase(migrated: false)
    let owner = test.role("owner")
    try test.execute("CREATE ROLE \(owner) LOGIN")
    let url = try database("temporary")
    let name = try #require(url.split(separator: "/").last)
    let administrator = try Connection(ConnectionOptions(conninfo: url))
    try administrator.execute(
      "REVOKE TEMPORARY ON DATABASE \(name) FROM PUBLIC; CREATE SCHEMA telemetry AUTHORIZATION \(owner)",
      operation: "prepare a database")
    let ownerURL = url.replacing("postgres@", with: "\(owner)@")
    let schema = ["TELEMETRY_POSTGRES_SCHEMA": "telemetry"]
    let variables = schema.merging(["TELEMETRY_POSTGRES_URL": ownerURL]) { $1 }
    #expect(try execute(["migrate"], environment: variables).code == 0)
    #expect(try execute(["refresh"], environment: variables).code == 0)
    #expect(try execute(["refresh"], environment: variables).code == 1)
    let found = try check(ownerURL, schema)
    #expect(found.code == 1)
    #expect(
      found.report.failed("temporary tables")?.contains("GRANT TEMPORARY ON DATABASE \(name) TO \(owner)")
        == true,
      "\(found.report)")
    try administrator.execute("GRANT TEMPORARY ON DATABASE \(name) TO \(owner)", operation: "mend it")
    #expect(try execute(["refresh"], environment: variables).code == 0)
    #expect(try check(ownerURL, schema).code == 0)
  }
}
