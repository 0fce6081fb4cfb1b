import Telemetry
import Testing

@Suite("What is JSON, an object, and not too deep")
struct JSONStrictnessTests {
  @Test(
    "A value that RFC 8259 does not allow is invalid_json, though nobody reads the part that is broken",
    arguments: [
      #"01"#, "+1", ".5", "1.", "1.e3", "1e", "1e+", "-", "--1", "0x1", "1_000", "NaN", "Infinity",
      "-Infinity",
      "1 2", "1\"a\"", "\"a\"1", "tru", "truee", "True", "nul", "nulll", "fals", "'a'", "undefined",
      "[1,]", "[,1]", "[1 2]", "[1", "[1}", "[", "[[]", "[1]]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
      "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{1:1}", "{a:1}", "{\"a\":1]", "{,}", "{\"a\"::1}",
      "{\"a\":1,,\"b\":2}",
      "\"b\":1", "\"a", "\"\\\"", "\"\\x41\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\\"\"\"", "\"a\u{1}b\"",
      "\"\t\"",
      "\"\n\"", "\u{0}", "1\u{0}", "1\u{C}", "\u{B}1", "\u{A0}1", "1\u{FEFF}", "/**/1", "1//", "", ",", ":",
      "]", "}",
    ])
  func invalid(_ text: String) {
    for json in [
      DecodedEvent.json("\"x\":\(text)"), DecodedEvent.json("\"x\":[\(text)]"),
      DecodedEvent.json("\"x\":{\"y\":\(text)}"), DecodedEvent.json("\"logs\":\(text)"),
      DecodedEvent.json("\"searches\":[{\"resultCount\":\(text)}]"),
      "{\"x\":\(text),\(DecodedEvent.json().dropFirst())",
    ] where JSONValidator.isObject(Array(json.utf8)) == nil {
      #expect(rejection(value: Array(json.utf8))?.reason == .invalidJSON, "\(json)")
    }
    #expect(rejection("\"x\":\(text)")?.reason == .invalidJSON)
  }

  @Test(
    "A key is a string like any other",
    arguments: [#"\q"#, #"\u12"#, #"\u12g4"#, #"\ud800\u"#, "\u{1}", "\n"])
  func invalidKeys(_ key: String) {
    for json in ["\"\(key)\":1", "\"x\":{\"\(key)\":1}", "\"logs\":{\"\(key)\":1}"] {
      #expect(rejection(json)?.reason == .invalidJSON, "\(json)")
    }
    #expect(rejection("\"searches\":[{\"\(key)\":1}]")?.reason == .invalidJSON)
  }

  @Test(
    "A value that RFC 8259 allows is accepted, though no type of ours could hold it",
    arguments: [
      "1e999", "-1E-999", "0e99999999999", "-0", "-0.0e+00", String(repeating: "9", count: 400), "0.1e-400",
      #""\ud800""#, #""\u0000""#, #""\uDFFF\uD800""#, #""\/\b\f\n\r\t\"\\""#, "\"\u{7F}\u{85}\u{2028}\"",
      "[]", "{}", "[[],{},[{}]]", #"{"":{"":[]}}"#, #"{"a":1,"a":2}"#, " [ 1 , 2 ] ", "\n{\r\"a\"\t:\n1 }\n",
    ])
  func valid(_ text: String) {
    for name in ["x", "logs", "model_config"] {
      #expect(rejection("\"\(name)\":\(text)") == nil, "\(name)")
    }
  }

  @Test(
    "Only white space may stand around the object",
    arguments: [
      "{}", "x", "1", "]", "}", ",", "null", "\u{0}", "\u{FEFF}", "\u{A0}", "\u{C}",
    ])
  func surroundings(_ text: String) {
    let json = DecodedEvent.json()
    #expect(rejection(value: Array(" \t\r\n\(json) \t\r\n".utf8)) == nil)
    #expect(rejection(value: Array((json + text).utf8))?.reason == .invalidJSON)
    #expect(rejection(value: Array((text + json).utf8))?.reason == .invalidJSON)
  }

  @Test("An empty value and one of white space are invalid_json", arguments: ["", " ", "\n\t "])
  func empty(_ text: String) {
    #expect(rejection(value: Array(text.utf8))?.reason == .invalidJSON)
  }

  @Test(
    "JSON that is no object is not_an_object", arguments: ["[]", "[{}]", "null", "1", "\"{}\"", " true "])
  func notAnObject(_ text: String) {
    #expect(rejection(value: Array(text.utf8))?.reason == .notAnObject)
  }

  @Test(
    "Bytes that are not UTF-8 are invalid_utf8, wherever they stand and whatever else is wrong",
    arguments: [
      [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0x80],
    ] as [[UInt8]])
  func invalidUTF8(_ bytes: [UInt8]) {
    let inString = Array(#"{"x":""#.utf8) + bytes + Array(#""}"#.utf8)
    let outside = Array("{}".utf8) + bytes
    let broken = Array("[\"".utf8) + bytes
    for value in [inString, outside, broken] { #expect(rejection(value: value)?.reason == .invalidUTF8) }
  }

  @Test("64 levels are accepted, the 65th is too_deep", arguments: ["x", "logs", "searches"])
  func depth(_ name: String) {
    func nested(_ levels: Int) -> String {
      let open = String(repeating: "[", count: levels - 2)
      let close = String(repeating: "]", count: levels - 2)
      return name == "searches"
        ? "\"searches\":[{\"x\":\(open.dropFirst())\(close.dropFirst())}]" : "\"\(name)\":[\(open)\(close)]"
    }
    #expect(rejection(nested(64)) == nil)
    #expect(rejection(nested(65))?.reason == .tooDeep)
  }

  @Test("Broken JSON is invalid_json however deep it is, and a megabyte of brackets harms nothing")
  func depthOfBrokenJSON() {
    let million = 1 << 20
    #expect(rejection(value: Array(repeating: UInt8(ascii: "["), count: million))?.reason == .invalidJSON)
    let objects = String(repeating: "{\"x\":", count: million / 5)
    #expect(rejection(value: Array(objects.utf8))?.reason == .invalidJSON)
    let closed = String(repeating: "[", count: million / 2) + String(repeating: "]", count: million / 2)
    #expect(rejection("\"x\":\(closed)")?.reason == .tooDeep)
    #expect(rejection("\"x\":\(closed)]")?.reason == .invalidJSON)
    #expect(rejection(value: Array(closed.utf8))?.reason == .notAnObject)
  }

  @Test("Mutated events are judged as an independent validator judges them", arguments: 0..<8)
  func mutations(_ seed: UInt64) {
    var random = SplitMix(state: seed)
    let source = Array(
      DecodedEvent.json(
        #""domain":"é\ud83d\ude00","searches":[{"resultCount": 2,"tool":"a\\b"},{}],"#
          + #""logs":{"a":[1.5e3,-0,true,false,null,"\u0000"]} , "cost_usd":0.25,"x":[[],{"y":"z"}]"#
      ).utf8)
    for _ in 0..<1500 {
      var value = source
      for _ in 0...Int.random(in: 0...2, using: &random) { mutate(&value, &random) }
      let reason = rejection(value: value)?.reason
      let refused: Set<RejectionReason> = [.invalidUTF8, .invalidJSON, .notAnObject]
      switch JSONValidator.isObject(value) {
      case nil: #expect(reason == .invalidJSON || reason == .invalidUTF8, "\(text(value))")
      case false: #expect(reason == .notAnObject, "\(text(value))")
      case true: #expect(!refused.contains(reason ?? .missingField), "\(text(value))")
      }
    }
  }

  private func mutate(_ value: inout [UInt8], _ random: inout SplitMix) {
    let telling = Array("{}[],:\"\\0123456789eE.+-tfnu \n\t\r\u{0}\u{C}\u{1A}\u{B}".utf8) + [0xFF, 0xC3]
    let at = Int.random(in: 0..<value.count, using: &random)
    let other = Int.random(in: 0..<value.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: value.remove(at: at)
    case 1: value[at] = telling.randomElement(using: &random)!
    case 2: value.insert(telling.randomElement(using: &random)!, at: at)
    default: value.swapAt(at, other)
    }
  }

  private func text(_ value: [UInt8]) -> String { String(decoding: value, as: UTF8.self) }
}

/// Numbers that are the same in every run (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators").
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }
}
