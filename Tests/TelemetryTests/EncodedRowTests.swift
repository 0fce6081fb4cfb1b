import Telemetry
import Testing

@Suite("A row in COPY BINARY format")
struct EncodedRowTests {
  // As PostgreSQL's own COPY TO ... (FORMAT binary) writes them.
  @Test(
    "A cost is a numeric with six places",
    arguments: [
      ("0", [0, 0, 0, 0, 0, 0, 0, 6]), ("1", [0, 1, 0, 0, 0, 0, 0, 6, 0, 1]),
      ("0.0001", [0, 1, 0xFF, 0xFF, 0, 0, 0, 6, 0, 1]), ("0.000001", [0, 1, 0xFF, 0xFE, 0, 0, 0, 6, 0, 100]),
      ("10000", [0, 1, 0, 1, 0, 0, 0, 6, 0, 1]), ("10000.0001", [0, 3, 0, 1, 0, 0, 0, 6, 0, 1, 0, 0, 0, 1]),
      (
        "999999.999999",
        [0, 4, 0, 1, 0, 0, 0, 6, 0, 99, 0x27, 0x0F, 0x27, 0x0F, 0x26, 0xAC]
      ),
      ("1.5", [0, 2, 0, 0, 0, 0, 0, 6, 0, 1, 0x13, 0x88]), ("-0.0000001", [0, 0, 0, 0, 0, 0, 0, 6]),
    ] as [(String, [UInt8])])
  func numeric(_ cost: String, _ bytes: [UInt8]) throws {
    #expect(try DecodedEvent("\"cost_usd\":\(cost)").bytes(.costUSD) == bytes)
  }

  @Test(
    "A name that differs from a field's in one character, wherever, is none of it",
    arguments: RawColumn.allCases)
  func nearlyAField(_ column: RawColumn) throws {
    for place in column.name.indices {
      var name = column.name
      name.replaceSubrange(place...place, with: "~")
      // As a value of most fields it would be a wrong type.
      let event = try DecodedEvent("\"\(name)\":{}")
      #expect(event.bytes(.logs) == nil && event.bytes(.modelConfig) == nil, "\(name)")
    }
  }

  @Test("Every field of an event stands in its column")
  func everyColumn() throws {
    let event = try DecodedEvent(
      #"""
      "id":"0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c","session_id":"S","conversation_id":"C","domain":"D",
      "model":"M","start_time":"2000-01-01T00:00:00.000001Z","end_time":"2000-01-01T00:00:00.000002Z",
      "duration_ms":1,"iterations":2,"max_iterations":3,"search_count":4,"total_results":5,
      "final_response_length":6,"input_tokens":7,"output_tokens":8,"cost_usd":0.000001,"success":false,
      "error":"E","user_agent":"U","ip_address":"I","searches":[{"s":1}],"logs":[2],"model_config":{"c":3}
      """#)
    let numbers: [(RawColumn, Int64)] = [
      (.createdAt, 834_840_000_000_000), (.startTime, 1), (.endTime, 2), (.durationMs, 1), (.iterations, 2),
      (.maxIterations, 3), (.searchCount, 4), (.totalResults, 5), (.finalResponseLength, 6),
      (.inputTokens, 7),
      (.outputTokens, 8), (.success, 0),
    ]
    for (column, value) in numbers { #expect(event.integer(column) == value, "\(column)") }
    let texts: [(RawColumn, String)] = [
      (.sessionID, "S"), (.conversationID, "C"), (.domain, "D"), (.model, "M"), (.error, "E"),
      (.userAgent, "U"), (.ipAddress, "I"),
    ]
    for (column, value) in texts { #expect(event.text(column) == value, "\(column)") }
    #expect(event.id == "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c")
    #expect(event.bytes(.costUSD) == [0, 1, 0xFF, 0xFE, 0, 0, 0, 6, 0, 100])
    #expect(event.json(.searches) == #"[{"s":1}]"#)
    #expect(event.json(.logs) == "[2]")
    #expect(event.json(.modelConfig) == #"{"c":3}"#)
  }

  @Test("The widths are those of the columns' types")
  func widths() throws {
    let event = try DecodedEvent(#""end_time":0,"duration_ms":1,"input_tokens":1"#)
    for column in RawColumn.allCases {
      guard let bytes = event.bytes(column) else { continue }
      switch column.sqlType {
      case "timestamptz": #expect(bytes.count == 8)
      case "uuid": #expect(bytes.count == 16)
      case "integer": #expect(bytes.count == 4)
      case "boolean": #expect(bytes.count == 1)
      default: break
      }
    }
  }

  @Test(
    "A JSON column holds any JSON as given, without the space around it; null is no value",
    arguments: ["1", "\"a\"", "true", "[ ]", "{ \"b\" : 1, \"a\" : 2 }", "1e400", "null"])
  func jsonColumns(_ text: String) throws {
    for column in [RawColumn.logs, .modelConfig] {
      let event = try DecodedEvent("\"\(column.name)\" : \(text) \n")
      #expect(event.json(column) == (text == "null" ? nil : text))
    }
  }

  @Test("A field that privacy forbids is not stored, and the event is", arguments: DroppableField.allCases)
  func dropped(_ field: DroppableField) throws {
    let value = field == .searches ? #"[{"resultCount":2}]"# : #""secret""#
    let members = "\"\(field.rawValue)\":\(value)"
    let column = try #require(RawColumn.allCases.first { $0.name == field.rawValue })
    #expect(try DecodedEvent(members).bytes(column) != nil)
    let event = try DecodedEvent(members, rules: DecodingRules(dropFields: [field]))
    #expect(event.bytes(column) == nil)
    #expect(event.facts.success == (field != .error), "success is read from an error that is not stored")
  }
}
