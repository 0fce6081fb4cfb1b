import Telemetry
import Testing

@Suite("What a dead letter says")
struct RejectionDetailTests {
  @Test(
    "The detail names the field, what is wrong and the value",
    arguments: [
      (#""input_tokens":"12""#, #"input_tokens: a string where an integer was expected: "12""#),
      (#""iterations":1.5"#, "iterations: a fraction where an integer was expected: 1.5"),
      (#""output_tokens":-1"#, "output_tokens: outside 0 to 2147483647: -1"),
      (#""cost_usd":1e7"#, "cost_usd: outside 0 to 999999.999999: 1e7"),
      (#""session_id":null"#, "session_id: missing"),
      (#""session_id":" ""#, #"session_id: nothing but white space: " ""#),
      (#""model":{"a": 1}"#, #"model: an object where a string was expected: {"a": 1}"#),
      (#""searches":{}"#, "searches: an object where an array was expected: {}"),
      (#""created_at":"soon""#, #"created_at: no RFC 3339 time: "soon""#),
      (
        #""created_at":null,"end_time":"2030-01-01T00:00:00Z""#,
        #"end_time: more than 3600 s ahead of now: "2030-01-01T00:00:00Z""#
      ),
      (#""created_at":5"#, "created_at: more than 1100 days ago: 5"),
    ])
  func fields(_ more: String, _ detail: String) {
    #expect(rejection(more)?.detail == detail)
  }

  @Test(
    "A broken value is shown where it breaks",
    arguments: [
      (#"{"a":tru}"#, #"value: no JSON at byte 8: {"a":tru}"#), (#"{"a":"#, #"value: ends too soon: {"a":"#),
      ("", "value: empty"), ("[1]", "value: no JSON object: [1]"),
      ("{\"a\":\"\u{1}\"}", #"value: no JSON at byte 6: {"a":"\u{1}"}"#),
    ])
  func documents(_ value: String, _ detail: String) {
    #expect(rejection(value: Array(value.utf8))?.detail == detail)
  }

  @Test("Bytes that are not UTF-8 are shown as such")
  func invalidUTF8() {
    let value = Array("{\"é\":\"".utf8) + [0xFF, 0xFE, 0x00] + Array("\"}".utf8)
    #expect(rejection(value: value)?.detail == #"value: no UTF-8 at byte 7: {"é":"\xff\xfe\u{0}"}"#)
  }

  @Test("The excerpt has at most 80 scalars and no control character")
  func excerpt() throws {
    for text in [
      String(repeating: "x", count: 1000), String(repeating: "😀", count: 81), "\u{85}\u{2028}\u{7F}\u{9B}",
    ] {
      let detail = try #require(rejection("\"input_tokens\":\"\(text)\"")?.detail)
      let start = "input_tokens: a string where an integer was expected: "
      #expect(detail.hasPrefix(start + "\""))
      let excerpt = detail.dropFirst(start.count).unicodeScalars
      #expect(excerpt.count <= 80)
      #expect(excerpt.allSatisfy { $0.properties.generalCategory != .control && $0.value != 0x2028 })
      #expect(excerpt.last == (text.count > 10 ? "…" : "\""))
    }
    let fitting = String(repeating: "x", count: 78)
    #expect(rejection("\"input_tokens\":\"\(fitting)\"")?.detail.hasSuffix("\"\(fitting)\"") == true)
  }

  @Test("A number too long to hold is refused without being shown whole")
  func longNumber() {
    let digits = String(repeating: "9", count: 5000)
    let rejection = rejection("\"input_tokens\":\(digits)")
    #expect(rejection?.reason == .outOfRange)
    #expect((rejection?.detail.count ?? 0) < 200)
  }
}
