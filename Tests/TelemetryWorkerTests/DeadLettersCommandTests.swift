import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("The dead-letters commands", .timeLimit(.minutes(2)))
struct DeadLettersCommandTests {
  private let database: TestDatabase
  private let good: TestEvent

  /// Letters 1 to 4: a good event, one without a model, no JSON, no UTF-8; the third is resolved.
  init() throws {
    database = try TestDatabase()
    let nowMs = try database.number("SELECT (extract(epoch FROM now()) * 1000)::bigint")
    var random = SeededGenerator(seed: 31)
    good = TestEvent.random(&random, nowMs: nowMs)
    var parameters = Parameters()
    let payloads = [
      Array(good.json.utf8), Array(#"{"session_id":"s","created_at":\#(nowMs)}"#.utf8), Array("{".utf8),
      [0xFF],
    ]
    parameters.array(of: .bytea, count: payloads.count)
    for payload in payloads { parameters.element(bytes: payload) }
    try database.connect().query(
      database.sql(
        """
        INSERT INTO @.chat_telemetry_dead_letters
          (topic, partition, record_offset, key, payload, payload_bytes, headers, reason, detail)
        SELECT 'chat-telemetry', 0, place, 'k', payload, length(payload), '[{"key":"trace","value":"t-1"}]',
          (ARRAY['future_time', 'missing_field', 'invalid_json', 'invalid_utf8'])[place], 'before'
        FROM unnest($1) WITH ORDINALITY AS u (payload, place) ORDER BY place
        """), parameters, operation: "insert dead letters for a test")
    try database.execute(
      "UPDATE @.chat_telemetry_dead_letters SET resolved_at = now(), resolution = 'discarded' WHERE id = 3")
  }

  private func run(_ arguments: String...) throws -> Execution {
    try execute(
      ["dead-letters"] + arguments,
      environment: [
        "TELEMETRY_POSTGRES_URL": database.options.conninfo,
        "TELEMETRY_POSTGRES_SCHEMA": database.schema.name,
      ])
  }

  private func json(_ execution: Execution) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: execution.output) as? [String: Any])
  }

  private func text(_ execution: Execution) -> String { String(decoding: execution.output, as: UTF8.self) }

  private func resolutions() throws -> [String?] {
    try database.rows("SELECT resolution FROM @.chat_telemetry_dead_letters ORDER BY id").map { $0[0] }
  }

  @Test("list shows those that wait, or those resolved, with their counts, as a table and as JSON")
  func list() throws {
    let waiting = try json(run("list", "--json"))
    #expect((waiting["dead_letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [4, 2, 1])
    #expect(
      (waiting["counts"] as? [[String: Any]])?.compactMap { $0["reason"] as? String }.sorted()
        == ["future_time", "invalid_utf8", "missing_field"])
    let one = try json(run("list", "--reason", "missing_field", "--limit", "1", "--json"))
    #expect((one["dead_letters"] as? [[String: Any]])?.compactMap { $0["id"] as? Int } == [2])
    let resolved = text(try run("list", "--resolved"))
    #expect(resolved.contains("discarded") && resolved.contains("invalid_json"))
    #expect(!resolved.contains("missing_field"))
    #expect(
      text(try run("list", "--since", "2020-01-01T00:00:00Z", "--topic", "elsewhere")).hasPrefix("none\n"))
  }

  @Test("show tells all that is known of one, with what its reason means, and fails where there is none")
  func show() throws {
    let shown = text(try run("show", "2"))
    for part in ["partition 0, offset 2", "missing_field: a field", "trace = t-1", #"{"session_id":"s""#] {
      #expect(shown.contains(part), "\(shown)")
    }
    #expect(text(try run("show", "4")).hasSuffix("\nff\n"))
    let letter = try json(run("show", "4", "--json"))
    #expect(letter["payload_base64"] as? String == "/w==" && letter["payload"] == nil)
    #expect((letter["explanation"] as? String)?.contains("UTF-8") == true)
    let none = try run("show", "99")
    #expect(none.code == 1 && none.errors.contains("there is no dead letter 99"))
  }

  @Test("retry stores what is good now, says what is not and exits with 1 then; a dry run keeps nothing")
  func retry() throws {
    let dry = try run("retry", "--all", "--dry-run", "--json")
    #expect(dry.code == 1 && dry.errors.contains("2 cannot be stored"))
    let report = try json(dry)
    #expect(report["dry_run"] as? Bool == true && report["stored"] as? Int == 1)
    #expect(try resolutions() == [nil, nil, "discarded", nil])

    let some = try run("retry", "1", "2", "3", "--model", "given")
    #expect(some.code == 0, "\(some.errors)")
    #expect(text(some).contains("stored: 2\n") && text(some).contains("resolved before: 1\n"))
    #expect(try resolutions() == ["retried", "retried", "discarded", nil])
    #expect(
      try database.rows("SELECT model FROM @.chat_telemetry ORDER BY model COLLATE \"C\"").map { $0[0] }
        == [good.model, "given"].sorted())
    let rest = try run("retry", "--all")
    #expect(rest.code == 1 && text(rest).contains("failed again: 1") && text(rest).contains("invalid_utf8"))
  }

  @Test("discard takes ids, or a filter with --yes, and says how many")
  func discard() throws {
    let byID = try json(run("discard", "1", "3", "--json"))
    #expect(byID["discarded"] as? Int == 1 && byID["not_waiting"] as? Int == 1)
    #expect(text(try run("discard", "--reason", "invalid_utf8", "--yes")) == "discarded: 1\n")
    #expect(try resolutions() == ["discarded", nil, "discarded", "discarded"])
  }

  @Test("export prints a line of JSON for each, those named whether resolved or not")
  func export() throws {
    func lines(_ arguments: String...) throws -> [[String: Any]] {
      let result = try execute(
        ["dead-letters", "export"] + arguments,
        environment: [
          "TELEMETRY_POSTGRES_URL": database.options.conninfo,
          "TELEMETRY_POSTGRES_SCHEMA": database.schema.name,
        ])
      #expect(result.code == 0, "\(result.errors)")
      return try result.output.split(separator: UInt8(ascii: "\n")).map {
        try #require(try JSONSerialization.jsonObject(with: $0) as? [String: Any])
      }
    }
    let all = try lines()
    #expect(all.compactMap { $0["id"] as? Int } == [1, 2, 4])
    #expect(all[0]["payload"] as? String == good.json && all[2]["payload_base64"] as? String == "/w==")
    #expect(try lines("--resolved").compactMap { $0["id"] as? Int } == [3])
    #expect(try lines("3", "4").compactMap { $0["id"] as? Int } == [3, 4])
  }

  @Test(
    "Changing everything must be asked for, and what makes no sense is wrong usage",
    arguments: [
      ["retry"], ["discard"], ["discard", "--reason", "invalid_json"], ["retry", "1", "--all"],
      ["discard", "--all"], ["list", "--limit", "-1"], ["list", "--reason", "bogus"],
      ["list", "--since", "soon"],
      ["show"], ["show", "1", "--hex", "--json"],
    ])
  func usage(arguments: [String]) throws {
    #expect(try execute(["dead-letters"] + arguments).code == 64)
    #expect(try resolutions() == [nil, nil, "discarded", nil])
  }
}
