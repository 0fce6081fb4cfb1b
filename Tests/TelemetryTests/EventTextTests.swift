import Telemetry
import Testing

@Suite("The strings of an event")
struct EventTextTests {
  /// Unicode's White_Space property (PropList.txt).
  static let whiteSpace: [UInt32] =
    [0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000] + Array(0x09...0x0D)
    + Array(0x2000...0x200A)

  private func text(_ scalars: [UInt32]) -> String {
    scalars.map {
      "\\u" + String(repeating: "0", count: 4 - String($0, radix: 16).count) + String($0, radix: 16)
    }
    .joined()
  }

  @Test("White space is what Unicode says it is, and nothing else")
  func property() throws {
    for scalar in (UInt32(1)...0x3100).compactMap(Unicode.Scalar.init) {
      let isWhiteSpace = scalar.properties.isWhitespace
      #expect(isWhiteSpace == Self.whiteSpace.contains(scalar.value))
      let event = try DecodedEvent(#""domain":"\#(text([scalar.value]))""#)
      #expect((event.domain == nil) == isWhiteSpace, "U+\(String(scalar.value, radix: 16))")
    }
    #expect(try DecodedEvent(#""domain":"\ufeff""#).domain == "\u{FEFF}")
  }

  @Test("A domain is trimmed at both ends, and a blank one is null")
  func domain() throws {
    let all = text(Self.whiteSpace)
    let event = try DecodedEvent(#""domain":"\#(all)a\#(all)é\#(all)""#)
    let inside = String(String.UnicodeScalarView(Self.whiteSpace.compactMap(Unicode.Scalar.init)))
    #expect(event.domain == "a\(inside)é")
    #expect(event.text(.domain) == event.domain)
    for blank in [#""""#, #""\#(all)""#, "null"] {
      let event = try DecodedEvent(#""domain":\#(blank)"#)
      #expect(event.domain == nil)
      #expect(event.bytes(.domain) == nil)
    }
    #expect(try DecodedEvent().domain == nil)
    #expect(try DecodedEvent(#""domain":"unknown""#).domain == "unknown")
  }

  @Test("A model is stored as given; a blank one has no bytes in the facts")
  func model() throws {
    let given = try DecodedEvent(#""model":" gpt\t""#)
    #expect(given.text(.model) == " gpt\t")
    #expect(given.model == " gpt\t")
    let blank = try DecodedEvent(#""model":" \u3000""#)
    #expect(blank.text(.model) == " \u{3000}")
    #expect(blank.facts.model.count == 0)
    #expect(try DecodedEvent(#""model":"""#).text(.model) == "")
    #expect(rejection(#""model":null"#)?.reason == .missingField)
  }

  @Test("A session_id must be there and not blank, and is stored as given")
  func session() throws {
    #expect(try DecodedEvent(#""session_id":" a ""#).text(.sessionID) == " a ")
    for text in ["null", #""""#, #"" \u2003\n""#] {
      #expect(rejection(#""session_id":\#(text)"#)?.reason == .missingField)
    }
    #expect(rejection(value: Array("{}".utf8))?.reason == .missingField)
  }

  @Test(
    "Lengths count Unicode scalars without the white space around them",
    arguments: [("domain", 253), ("model", 200), ("session_id", 512), ("conversation_id", 512)])
  func limits(_ name: String, _ limit: Int) {
    for scalar in ["a", "é", "漢", "😀"] {
      let longest = String(repeating: scalar, count: limit)
      #expect(rejection("\"\(name)\":\"\(longest)\"") == nil)
      #expect(rejection("\"\(name)\":\"  \(longest)\\u3000\"") == nil)
      #expect(rejection("\"\(name)\":\"\(longest)\(scalar)\"")?.reason == .tooLong)
    }
  }

  @Test("White space around a model is bounded too, unless there is nothing else")
  func modelAsGiven() {
    let space = String(repeating: " ", count: 399)
    #expect(rejection("\"model\":\"a\(space)\"") == nil)
    #expect(rejection("\"model\":\"a\(space) \"")?.reason == .tooLong)
    #expect(rejection("\"model\":\"\(space)\(space)\"") == nil)
  }

  @Test(
    "A field that holds strings takes nothing else",
    arguments: ["session_id", "conversation_id", "domain", "model", "error", "user_agent", "ip_address"])
  func wrongTypes(_ name: String) {
    for value in ["1", "true", "[]", "{}", "[\"a\"]"] {
      #expect(rejection("\"\(name)\":\(value)")?.reason == .wrongType)
      let all = DecodingRules(dropFields: Set(DroppableField.allCases))
      #expect(rejection("\"\(name)\":\(value)", rules: all)?.reason == .wrongType)
    }
  }

  @Test("Escapes are undone in every string")
  func escapes() throws {
    let event = try DecodedEvent(
      #""error":"\"\\\/\b\f\n\r\t\u00e9\u6f22\ud83d\ude00\uD83D\uDE00é","user_agent":"plain""#)
    #expect(event.text(.error) == "\"\\/\u{8}\u{C}\n\r\té漢😀😀é")
    #expect(event.text(.userAgent) == "plain")
  }

  @Test("Success is as given, else whether there is no error")
  func success() throws {
    func success(_ more: String) throws -> Bool {
      let event = try DecodedEvent(more)
      #expect(event.bytes(.success) == [event.facts.success ? 1 : 0])
      return event.facts.success
    }
    #expect(try success(""))
    #expect(try success(#""error":null"#))
    #expect(try !success(#""error":"timeout""#))
    #expect(try !success(#""error":"""#))
    #expect(try success(#""error":"timeout","success":true"#))
    #expect(try !success(#""success":false"#))
    #expect(try !success(#""success":null,"error":"x""#))
    for value in ["1", #""true""#, "[]"] { #expect(rejection(#""success":\#(value)"#)?.reason == .wrongType) }
  }
}
