import Foundation
import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite struct DeadLetterQueryTests {
  /// 6 letters: reasons and topics mixed, two of them old, one resolved.
  private func mixed() throws -> LetterStage {
    let stage = try LetterStage()
    try stage.insert(["a", "b"], reason: .invalidJSON, receivedAt: "timestamptz '2026-01-01T00:00:00Z'")
    try stage.insert(["c", "d"], offset: 10, reason: .missingField)
    try stage.insert(["e", "f"], topic: "other", reason: .invalidJSON)
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_dead_letters SET resolved_at = now(), resolution = 'discarded' WHERE payload = 'f'
      """)
    return stage
  }

  // 2026-01-01T00:00:00.000001Z, just behind the two old ones; 2026-01-01T00:00:00Z, their own time.
  @Test(
    "Each filter leaves out what it does not mean, and the counts by reason agree with the list",
    arguments: [
      (DeadLetterFilter(), [1, 2, 3, 4, 5]), (DeadLetterFilter(state: .resolved), [6]),
      (DeadLetterFilter(state: .any), [1, 2, 3, 4, 5, 6]),
      (DeadLetterFilter(reason: .invalidJSON), [1, 2, 5]),
      (DeadLetterFilter(topic: "other", state: .any), [5, 6]),
      (DeadLetterFilter(ids: [2, 3, 6, 99]), [2, 3]),
      (DeadLetterFilter(sinceMicros: 1_767_225_600_000_001), [3, 4, 5]),
      (DeadLetterFilter(sinceMicros: 1_767_225_600_000_000), [1, 2, 3, 4, 5]),
      (DeadLetterFilter(ids: [1, 3], reason: .invalidJSON, topic: "chat-telemetry"), [1]),
    ])
  func filters(filter: DeadLetterFilter, ids: [Int64]) throws {
    let stage = try mixed()
    let queries = try stage.queries
    let listed = try queries.list(filter, limit: 100)
    #expect(listed.map(\.id).sorted() == ids)
    let reasons = Dictionary(grouping: listed, by: \.reason).mapValues { Int64($0.count) }
    let counts = try queries.counts(filter)
    #expect(Dictionary(uniqueKeysWithValues: counts.map { ($0.reason, $0.records) }) == reasons)
    var walked: [Int64] = []
    try queries.forEach(filter) { walked.append($0.summary.id) }
    #expect(walked == ids)
  }

  @Test("The list shows the newest first, up to its limit, with coordinates, times and verdict")
  func list() throws {
    let stage = try mixed()
    let listed = try stage.queries.list(DeadLetterFilter(), limit: 4)
    #expect(listed.map(\.id) == [5, 4, 3, 2])
    let oldest = try #require(listed.last)
    #expect(oldest.topic == "chat-telemetry" && oldest.partition == 3 && oldest.offset == 1)
    #expect(oldest.recordTimestamp == "2026-03-15T12:00:00.000Z")
    #expect(oldest.receivedAt == "2026-01-01T00:00:00.000Z")
    #expect(oldest.payloadBytes == 1 && oldest.detail == "before" && oldest.resolution == nil)
  }

  @Test("Discarding marks those that wait and match, once, and nothing else")
  func discard() throws {
    let stage = try mixed()
    let queries = try stage.queries
    #expect(try queries.discard(DeadLetterFilter(reason: .invalidJSON, state: .any)) == 3)
    #expect(try queries.discard(DeadLetterFilter(reason: .invalidJSON)) == 0)
    #expect(try stage.count("resolution = 'discarded' AND resolved_at IS NOT NULL") == 4)
    #expect(try stage.count("resolved_at IS NULL AND reason = 'missing_field'") == 2)
  }

  @Test(
    "A letter keeps its bytes, headers and nulls on the way out, as text or in Base64, whatever bytea_output is"
  )
  func export() throws {
    let stage = try LetterStage()
    let text = "{\"q\":\"\u{0}Ü\u{1F600}\\\"\"}\r\n"
    try stage.insert([text, "", "x", "y"])
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_dead_letters SET payload = '\\x00ff80fe'::bytea, key = '\\xc3'::bytea,
        headers = '[{"key":"a","value":null},{"key_base64":"/w==","value":"v"}]' WHERE record_offset = 2;
      UPDATE @.chat_telemetry_dead_letters SET payload = NULL, key = NULL, headers = NULL WHERE record_offset = 3;
      """)
    let connection = try stage.database.connect()
    try connection.execute("SET bytea_output = 'escape'", operation: "set bytea_output")
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    var lines: [[String: Any]] = []
    try DeadLetterQueries(connection: connection, schema: stage.database.schema).forEach(DeadLetterFilter()) {
      let line = try JSONSerialization.jsonObject(with: encoder.encode($0))
      lines.append(try #require(line as? [String: Any]))
    }
    try #require(lines.count == 4)
    #expect((lines[0]["payload"] as? String).map { Array($0.utf8) } == Array(text.utf8))
    #expect(lines[0]["key"] as? String == "k" && lines[0]["record_timestamp"] != nil)
    #expect(lines[0]["headers"] as? [[String: String]] == [["key": "trace", "value": "t-1"]])
    #expect(lines[1]["payload"] as? String == "")
    let binary = lines[2]["payload_base64"] as? String
    #expect(binary.flatMap { Data(base64Encoded: $0) } == Data([0x00, 0xFF, 0x80, 0xFE]))
    #expect(lines[2]["payload"] == nil && lines[2]["key_base64"] as? String == "ww==")
    #expect(
      lines[2]["headers"] as? [[String: String]] == [["key": "a"], ["key_base64": "/w==", "value": "v"]])
    #expect(lines[3]["payload"] == nil && lines[3]["payload_base64"] == nil && lines[3]["key"] == nil)
    #expect(lines[3]["payload_bytes"] as? Int == 1 && lines[3]["headers"] == nil)
  }

  @Test("Letters of more pages than one, by number and by bytes, are walked through in order, each once")
  func pages() throws {
    let stage = try LetterStage()
    try stage.insert((1...603).map { "\($0)" })
    // A page goes by the lengths that the table notes.
    try stage.database.execute(
      "UPDATE @.chat_telemetry_dead_letters SET payload_bytes = 9 << 20 WHERE id <= 3 OR id = 400")
    var walked: [Int64] = []
    try stage.queries.forEach(DeadLetterFilter()) {
      walked.append($0.summary.id)
      #expect($0.payload == Array("\($0.summary.id)".utf8))
    }
    #expect(walked == Array(1...603))
  }

  @Test("A letter is found by its id, resolved or not, and none where there is none")
  func find() throws {
    let stage = try mixed()
    #expect(try stage.queries.find(6)?.payload == Array("f".utf8))
    let none = try stage.queries.find(7)
    #expect(none?.summary.id == nil)
  }
}
