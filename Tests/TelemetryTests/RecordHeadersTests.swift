import Foundation
import Telemetry
import Testing

@Suite struct RecordHeadersTests {
  private typealias Header = (name: [UInt8], value: [UInt8]?)

  private func json(_ headers: [Header]) -> String {
    let batch = EventBatch()
    let record = batch.retainSample(payload: "x", headers: headers)
    guard let range = record.headers else {
      return RecordHeaders.json(UnsafeRawBufferPointer(start: nil, count: 0))
    }
    return RecordHeaders.json(batch.sources.slice(range.offset, range.count))
  }

  /// Reads the JSON back with another parser.
  private func parsed(_ text: String) throws -> [Header] {
    let list = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    return try list.map { member in
      func bytes(_ name: String) throws -> [UInt8]? {
        if let text = member[name] as? String { return Array(text.utf8) }
        if let text = member[name + "_base64"] as? String {
          return try Array(#require(Data(base64Encoded: text)))
        }
        return nil
      }
      #expect(member.count == 2)
      return (try #require(try bytes("key")), try bytes("value"))
    }
  }

  @Test("Headers render as a list that keeps order, repeats and nulls")
  func rendersList() {
    #expect(json([]) == "[]")
    #expect(
      json([(Array("k".utf8), Array("text".utf8)), (Array("k".utf8), nil), ([], [])])
        == #"[{"key":"k","value":"text"},{"key":"k","value":null},{"key":"","value":""}]"#)
  }

  @Test("What is not UTF-8 or holds U+0000 renders in Base64, and control characters are escaped")
  func rendersWhatIsNotText() {
    #expect(json([([0xFF], [0x61, 0])]) == #"[{"key_base64":"/w==","value_base64":"YQA="}]"#)
    #expect(
      json([(Array("a\"\\".utf8), Array("\n\u{1F}é😀".utf8))])
        == #"[{"key":"a\"\\","value":"\u000a\u001fé😀"}]"#)
  }

  @Test("Any headers come back from their JSON as they were")
  func roundTrip() throws {
    var numbers = RepeatableNumbers(seed: 2)
    let texts = [
      "", "plain", "quote \" back \\ slash /", "\u{8}\t\r\n\u{7F}", "Ünïcödé 日本 🚀", "e\u{301}\u{FEFF}",
    ]
    for _ in 0..<300 {
      let headers: [Header] = (0..<Int.random(in: 0...5, using: &numbers)).map { _ in
        func bytes() -> [UInt8] {
          if Bool.random(using: &numbers) { return Array(texts.randomElement(using: &numbers)!.utf8) }
          return (0..<Int.random(in: 0...9, using: &numbers)).map { _ in .random(in: 0...255, using: &numbers)
          }
        }
        return (bytes(), Int.random(in: 0..<4, using: &numbers) == 0 ? nil : bytes())
      }
      let back = try parsed(json(headers))
      #expect(back.map(\.name) == headers.map(\.name))
      #expect(back.map(\.value) == headers.map(\.value))
    }
  }
}
