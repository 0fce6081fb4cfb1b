import Foundation
import Postgres
import Store
import TestSupport
import Testing

@Suite("The commands that verify and rebuild")
struct RebuildCommandTests {
  private struct Report: Decodable {
    var dryRun: Bool
    var differenceCount: Int
    var differences: [Difference]
    var rebuiltParts: Int
    var notRebuilt: [String]
    var views: [View]

    struct Difference: Decodable {
      var table: String
      var measure: String
      var expected: String?
      var stored: String?
    }
    struct View: Decodable { var status: String }
  }

  private let database: TestDatabase

  init() throws {
    database = try TestDatabase()
    var random = SeededGenerator(seed: 5)
    let nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    try EventStore(database).write((0..<50).map { _ in .random(&random, nowMs: nowMs, spanMs: 7_200_000) })
  }

  private func run(_ arguments: String...) throws -> Execution {
    try execute(
      arguments,
      environment: [
        "TELEMETRY_POSTGRES_URL": database.options.conninfo,
        "TELEMETRY_POSTGRES_SCHEMA": database.schema.name,
      ])
  }

  private func report(_ execution: Execution) throws -> Report {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Report.self, from: execution.output)
  }

  @Test(
    "verify exits with 1 on a difference, rebuild --dry-run shows it, rebuild mends it and refreshes the views"
  )
  func way() throws {
    #expect(try run("verify").code == 0)
    try database.rows("UPDATE @.chat_telemetry_rollups_hour SET max_duration_ms = 2147483647")
    #expect(try run("verify").code == 1)

    let dry = try run("rebuild", "--all", "--dry-run", "--json")
    #expect(dry.code == 0)
    let shown = try report(dry)
    #expect(shown.dryRun && shown.rebuiltParts == 0 && shown.views.isEmpty)
    #expect(shown.differenceCount == shown.differences.count && shown.differenceCount > 0)
    #expect(
      shown.differences.allSatisfy {
        $0.table == "chat_telemetry_rollups_hour" && $0.measure == "max_duration_ms"
      })
    #expect(shown.differences.allSatisfy { $0.stored == "2147483647" && $0.expected != $0.stored })
    let text = try run("rebuild", "--from", "1d", "--dry-run")
    #expect(text.code == 0 && String(decoding: text.output, as: UTF8.self).contains("nothing was changed"))

    let done = try run("rebuild", "--from", "1d", "--json")
    #expect(done.code == 0, "\(done.errors)")
    let mended = try report(done)
    #expect(mended.differences.count == shown.differences.count && mended.rebuiltParts > 0)
    #expect(mended.views.map(\.status) == ["SUCCESS", "SUCCESS"])
    #expect(try run("verify").code == 0)
    #expect(
      try database.number("SELECT count(*) FROM @.chat_telemetry_refresh_log WHERE trigger = 'manual'") == 2)
    let again = try run("rebuild", "--all")
    #expect(again.code == 0 && String(decoding: again.output, as: UTF8.self).contains("nothing to rebuild"))
  }

  @Test("A range without raw rows exits with 1 and names the days")
  func refused() throws {
    let day = try database.rows("SELECT min(day) FROM @.chat_telemetry_days")[0][0]!
    try database.rows("UPDATE @.chat_telemetry_days SET dropped_at = now() WHERE day = '\(day)'")
    let refused = try run("rebuild", "--from", "3d")
    #expect(refused.code == 1 && refused.errors.contains(day) && refused.output.isEmpty)
  }

  @Test(
    "Neither a range nor --all, or both, is wrong usage",
    arguments: [[], ["--all", "--from", "1d"], ["--from", "1d", "--to", "2d"], ["--all", "--limit", "-1"]])
  func usage(arguments: [String]) throws {
    #expect(try execute(["rebuild"] + arguments).code == 64)
  }

  @Test("Wrong settings exit with 78")
  func settings() throws {
    #expect(try execute(["rebuild", "--all", "--config", "/nowhere.yaml"]).code == 78)
  }
}
