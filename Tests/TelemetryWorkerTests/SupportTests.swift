import Foundation
import Testing

@testable import TelemetryWorker

@Suite struct TimestampTests {
  @Test(
    "Times are read as Foundation reads them, and written back",
    arguments: [
      "1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "2024-12-31T12:30:00Z", "2100-03-01T00:00:00Z",
      "1969-12-31T23:59:59Z", "2399-12-31T00:00:00Z",
    ])
  func reading(text: String) throws {
    let expected = try #require(ISO8601DateFormatter().date(from: text)).timeIntervalSince1970
    #expect(Timestamp.parse(text) == Int64(expected) * 1_000_000)
    #expect(Timestamp.text(micros: Int64(expected) * 1_000_000) == text)
  }

  @Test("Offsets and fractions count; no offset is UTC")
  func forms() {
    #expect(Timestamp.parse("1970-01-01T01:30:00.25+01:30") == 250_000)
    #expect(Timestamp.parse("1969-12-31 19:00:00.123456789-05:00") == 123_456)
    #expect(Timestamp.parse("1970-01-01t00:00:01z") == 1_000_000)
    #expect(Timestamp.parse("1970-01-01T00:00:01") == 1_000_000)
    #expect(Timestamp.text(micros: 1) == "1970-01-01T00:00:00.000001Z")
  }

  @Test(
    "What is no time is refused",
    arguments: [
      "", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
      "2026-01-01", "2026-01-01T00:00:00+25:00", "2026-01-01T00:00:00Z ", "1732233600",
    ])
  func refused(text: String) {
    #expect(Timestamp.parse(text) == nil)
  }
}

@Suite struct RandomSourceTests {
  @Test("The mixer is SplitMix64: the published outputs for seed 1234567")
  func reference() {
    let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15
    // https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    let expected: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      4_593_380_528_125_082_431,
      16_408_922_859_458_223_821,
    ]
    #expect((1...5).map { RandomSource.mix(1_234_567 &+ gamma &* $0) } == expected)
  }

  @Test(
    "The exponential is the C library's to nine digits", arguments: [-30, -4.8, -0.5, 0, 0.3, 1, 4.8, 30])
  func exponential(x: Double) {
    #expect(abs(RandomSource.exponential(x) / exp(x) - 1) < 1e-9)
  }

  @Test("Normal numbers have mean 0 and deviation 1")
  func normal() {
    var random = RandomSource(seed: 7)
    let numbers = (0..<50_000).map { _ in random.normal() }
    let mean = numbers.reduce(0, +) / 50_000
    let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 50_000
    #expect(abs(mean) < 0.02)
    #expect(abs(variance - 1) < 0.03)
  }
}

@Suite struct TextTableTests {
  private var table: TextTable {
    var table = TextTable(.text("domain"), .number("requests"))
    table.add("northwind.example", NumberText.grouped(1_234_567))
    table.add("a.example", NumberText.grouped(12))
    return table
  }

  @Test("Numbers stand at the right, text at the left, without spaces at the end")
  func alignment() {
    #expect(
      table.rendered(width: nil) == """
        domain              requests
        -----------------  ---------
        northwind.example  1,234,567
        a.example                 12

        """)
  }

  @Test("Where the terminal is narrow, text is cut and numbers are not")
  func narrow() {
    #expect(
      table.rendered(width: 20) == """
        domain      requests
        ---------  ---------
        northwin…  1,234,567
        a.example         12

        """)
    // No text column gets narrower than eight.
    #expect(table.rendered(width: 5).split(separator: "\n").allSatisfy { $0.count <= 19 })
  }

  @Test("A name cannot steer the terminal")
  func control() {
    var table = TextTable(.text("x"))
    table.add("a\u{1B}[2Jb\n\u{202E}c")
    #expect(table.rendered(width: nil).hasSuffix("\na\u{FFFD}[2Jb\u{FFFD}\u{FFFD}c\n"))
  }

  @Test(
    "Thousands are set apart",
    arguments: [
      ("0", "0"), ("999", "999"), ("1000", "1,000"), ("-1234567.891", "-1,234,567.891"),
      ("100000", "100,000"),
    ])
  func thousands(digits: String, expected: String) {
    #expect(NumberText.grouped(digits) == expected)
  }
}

@Suite struct PacerTests {
  @Test("As many records are due as the rate says, the first at once; a rate of 0 knows no limit")
  func due() {
    let pacer = Pacer(rate: 500)
    #expect(
      [0, 1_999_999, 2_000_000, 1_000_000_000, 3_600_000_000_000].map(pacer.due) == [1, 1, 2, 501, 1_800_001])
    #expect(Pacer(rate: 0).due(after: 0) == nil)
  }
}

@Suite struct ReplayPointTests {
  @Test("A place in a topic is read in each of its forms")
  func forms() throws {
    #expect(ReplayPoint(argument: "earliest") == .earliest)
    #expect(ReplayPoint(argument: "latest") == .latest)
    #expect(ReplayPoint(argument: "0") == .offset(0))
    #expect(ReplayPoint(argument: "9223372036854775807") == .offset(.max))
    let now: Int64 = 1_773_578_096_000_000
    for (text, micros) in [
      ("2026-03-15T12:34:56Z", now), ("7d", now - 604_800_000_000), ("12h", now - 43_200_000_000),
      ("30m", now - 1_800_000_000),
    ] {
      guard case .time(let time)? = ReplayPoint(argument: text) else { throw TextRefused(text: text) }
      #expect(time.micros(now: now) == micros)
    }
  }

  private struct TextRefused: Error { var text: String }

  @Test(
    "What is no place in a topic is refused",
    arguments: ["", "-1", "9223372036854775808", "Earliest", "7 d", "2026-03-15", "1e3", "+5"])
  func refused(text: String) {
    #expect(ReplayPoint(argument: text) == nil)
  }
}
