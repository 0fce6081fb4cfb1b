import Telemetry
import Testing

@Suite("What is mended in an event")
struct EventRepairTests {
  @Test(
    "U+0000 and each lone surrogate become U+FFFD and are counted once per occurrence",
    arguments: [
      (#"a\u0000b\u0000"#, "a\u{FFFD}b\u{FFFD}", 2, 0), (#"\ud800"#, "\u{FFFD}", 0, 1),
      (#"\uDC00x"#, "\u{FFFD}x", 0, 1), (#"\ud800\ud83d\ude00"#, "\u{FFFD}😀", 0, 1),
      (#"\ude00\ud83d"#, "\u{FFFD}\u{FFFD}", 0, 2), (#"\ud83d\u0041"#, "\u{FFFD}A", 0, 1),
      (#"\ud83d\n\u0000"#, "\u{FFFD}\n\u{FFFD}", 1, 1), (#"\\u0000\\ud800"#, "\\u0000\\ud800", 0, 0),
      (#"\ufffd"#, "\u{FFFD}", 0, 0),
    ])
  func text(_ json: String, _ text: String, _ nuls: Int, _ surrogates: Int) throws {
    let columns: [RawColumn] = [.sessionID, .conversationID, .domain, .model, .error, .userAgent, .ipAddress]
    for column in columns {
      let event = try DecodedEvent("\"\(column.name)\":\"\(json)\"")
      #expect(event.text(column) == text)
      #expect(event.repairs[.nulCharacter] == nuls)
      #expect(event.repairs[.loneSurrogate] == surrogates)
    }
  }

  @Test("In JSON columns the escape itself is replaced, in keys too, and the rest stays as given")
  func json() throws {
    let given = #"{ "\u0000k" : ["\ud83d\ude00\ud800\\u0000", {"\udc00": "a\u0000\n"}], "n": 1.50 }"#
    let mended = #"{ "\ufffdk" : ["\ud83d\ude00\ufffd\\u0000", {"\ufffd": "a\ufffd\n"}], "n": 1.50 }"#
    for column in [RawColumn.logs, .modelConfig] {
      let event = try DecodedEvent("\"\(column.name)\": \(given) ")
      #expect(event.json(column) == mended)
      #expect(event.repairs[.nulCharacter] == 2)
      #expect(event.repairs[.loneSurrogate] == 2)
    }
    let searches = try DecodedEvent("\"searches\":[\(given) , {\"tool\":\"\\u0000\"}]")
    #expect(searches.json(.searches) == "[\(mended) , {\"tool\":\"\\ufffd\"}]")
    #expect(searches.repairs[.nulCharacter] == 3)
    #expect(searches.repairs[.loneSurrogate] == 2)
    #expect(try DecodedEvent(#""logs":"\ud800""#).json(.logs) == #""\ufffd""#)
  }

  @Test(
    "What is not stored is not counted: unknown fields, overridden ones",
    arguments: [
      #""x":"\u0000","\u0000":1,"y":["\ud800"]"#, #""error":"\u0000","error":"a""#,
      #""logs":["\u0000"],"logs":1"#,
    ])
  func notStored(_ more: String) throws {
    #expect(try DecodedEvent(#""id":"a",\#(more)"#).repairs == RepairCounts())
  }

  @Test("What privacy forbids to store is not counted", arguments: DroppableField.allCases)
  func dropped(_ field: DroppableField) throws {
    let value = field == .searches ? #"[{"a":"\u0000"}]"# : #""\u0000""#
    let members = "\"id\":\"a\",\"\(field.rawValue)\":\(value)"
    #expect(try DecodedEvent(members).repairs[.nulCharacter] == 1)
    #expect(try DecodedEvent(members, rules: DecodingRules(dropFields: [field])).repairs == RepairCounts())
  }

  @Test("Repairs of several events add up, and a rejected event adds none")
  func sums() throws {
    var decoder = EventDecoder(rules: DecodingRules())
    var rows = ByteArena()
    var counts = RepairCounts()
    func decode(_ more: String) {
      Array(DecodedEvent.json(more).utf8).withUnsafeBytes { bytes in
        _ = try? decoder.decode(
          bytes, at: DecodedEvent.coordinates, nowMicros: DecodedEvent.nowMicros, into: &rows,
          repairs: &counts)
      }
    }
    decode(#""error":"\u0000""#)
    decode(#""error":"\u0000\u0000\ud800""#)
    decode(#""error":"\u0000","ip_address":1"#)
    #expect(counts[.nulCharacter] == 3)
    #expect(counts[.loneSurrogate] == 1)
    #expect(counts[.missingID] == 2)
  }
}
