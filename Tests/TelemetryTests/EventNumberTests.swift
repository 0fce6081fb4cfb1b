import Telemetry
import Testing

@Suite("The numbers of an event")
struct EventNumberTests {
  static let integers: [(String, RawColumn)] = [
    ("iterations", .iterations), ("max_iterations", .maxIterations), ("search_count", .searchCount),
    ("total_results", .totalResults), ("final_response_length", .finalResponseLength),
    ("input_tokens", .inputTokens), ("output_tokens", .outputTokens),
  ]

  @Test(
    "A number whose value is an integer is that integer, however it is written",
    arguments: [
      ("0", 0), ("-0", 0), ("-0.0e5", 0), ("7", 7), ("3.0", 3), ("3e0", 3), ("30e-1", 3), ("0.03E+2", 3),
      ("2147483647", 2_147_483_647), ("2147483647.000", 2_147_483_647), ("0e9999999999999999999999", 0),
      ("0.0000000000000000000000000000012e31", 12), ("1200000000000000000000000000000e-29", 12),
    ])
  func integers(_ text: String, _ value: Int64) throws {
    for (name, column) in Self.integers {
      #expect(try DecodedEvent("\"\(name)\":\(text)").integer(column) == value, "\(name)")
    }
  }

  @Test(
    "A real fraction is wrong_type, as is anything that is no number",
    arguments: [
      "3.5", "35e-1", "1e-1", "-0.5", "1e-99999999999999", "12345678901234567890.5", "\"3\"", "true", "[]",
      "{}",
    ])
  func wrongTypes(_ text: String) {
    for (name, _) in Self.integers { #expect(rejection("\"\(name)\":\(text)")?.reason == .wrongType) }
  }

  @Test(
    "An integer outside 0 to 2^31-1 is out_of_range",
    arguments: [
      "-1", "2147483648", "1e10", "1e400", "-1e400", "9223372036854775808", "1e99999999999999999999",
    ])
  func outOfRange(_ text: String) {
    for (name, _) in Self.integers { #expect(rejection("\"\(name)\":\(text)")?.reason == .outOfRange) }
  }

  @Test("A number of a megabyte is read to its end")
  func longNumbers() throws {
    let zeros = String(repeating: "0", count: 1 << 20)
    #expect(try DecodedEvent("\"iterations\":0.\(zeros)5e1048577").facts.iterations == 5)
    #expect(rejection("\"iterations\":5.\(zeros)1")?.reason == .wrongType)
    #expect(try DecodedEvent("\"cost_usd\":1.\(zeros)1").facts.costMicros == 1_000_000)
  }

  @Test("What is absent is 0 where the table says so, and null elsewhere", arguments: ["", "null"])
  func absent(_ value: String) throws {
    let members = Self.integers.map { "\"\($0.0)\":\(value)" }.joined(separator: ",")
    let event = try DecodedEvent(value.isEmpty ? "" : "\(members),\"cost_usd\":null,\"duration_ms\":null")
    for column in [RawColumn.iterations, .searchCount, .totalResults] { #expect(event.integer(column) == 0) }
    let nulls: [RawColumn] = [
      .maxIterations, .finalResponseLength, .inputTokens, .outputTokens, .costUSD, .durationMs,
    ]
    for column in nulls { #expect(event.bytes(column) == nil) }
    #expect(event.facts.costMicros == nil)
    #expect(event.facts.inputTokens == 0)
  }

  @Test("The rollups' facts are the columns' values")
  func facts() throws {
    let event = try DecodedEvent(
      #""iterations":1,"search_count":2,"input_tokens":3,"output_tokens":4,"duration_ms":5,"cost_usd":6"#)
    #expect(event.facts.iterations == 1)
    #expect(event.facts.searches == 2)
    #expect(event.facts.inputTokens == 3)
    #expect(event.facts.outputTokens == 4)
    #expect(event.facts.durationMs == 5)
    #expect(event.facts.costMicros == 6_000_000)
  }

  @Test(
    "A duration is rounded half up from its digits",
    arguments: [
      ("1500", 1500), ("0.4999999999999999999999", 0), ("0.5", 1), ("2.5", 3), ("1.5e3", 1500), ("-0.4", 0),
      ("2147483647.4999", 2_147_483_647), ("4.35e2", 435), ("1e-400", 0),
    ])
  func durations(_ text: String, _ milliseconds: Int64) throws {
    let event = try DecodedEvent("\"duration_ms\":\(text)")
    #expect(event.facts.durationMs == milliseconds)
    #expect(event.integer(.durationMs) == milliseconds)
  }

  @Test(
    "A duration's range holds after rounding",
    arguments: ["2147483647.5", "-0.5", "-1", "1e400", "1e19", "-1e400"])
  func durationRange(_ text: String) {
    #expect(rejection("\"duration_ms\":\(text)")?.reason == .outOfRange)
  }

  @Test(
    "A cost is read from its digits and rounded half up to micro-dollars",
    arguments: [
      ("0", 0), ("0.001234", 1234), ("0.1", 100_000), ("1e-6", 1), ("0.0000005", 1),
      ("0.00000049999999999999", 0),
      ("0.0000015", 2), ("0.0000025", 3), ("1.0000005", 1_000_001), ("999999.999999", 999_999_999_999),
      ("999999.9999994", 999_999_999_999), ("-0.0000001", 0), ("-0", 0), ("-0.0000004999", 0),
      ("4.35", 4_350_000), ("123456.789012", 123_456_789_012), ("1e-400", 0),
      ("9.99999999999e5", 999_999_999_999),
    ])
  func costs(_ text: String, _ micros: Int64) throws {
    #expect(try DecodedEvent("\"cost_usd\":\(text)").facts.costMicros == micros)
  }

  @Test(
    "A cost's range holds after rounding",
    arguments: ["999999.9999995", "1000000", "-0.000001", "-0.0000005", "1e400", "-1e400"])
  func costRange(_ text: String) {
    #expect(rejection("\"cost_usd\":\(text)")?.reason == .outOfRange)
  }

  @Test("A cost or duration that is no number is wrong_type", arguments: ["\"1\"", "true", "[]", "{}"])
  func notNumbers(_ text: String) {
    #expect(rejection("\"cost_usd\":\(text)")?.reason == .wrongType)
    #expect(rejection("\"duration_ms\":\(text)")?.reason == .wrongType)
  }
}
