import Foundation
import Testing

@testable import TelemetryWorker

@Suite struct GeneratorTests {
  // 2026-01-31T00:00:00Z by date(1).
  private static let start: Int64 = 1_769_817_600_000_000
  private static let day: Int64 = 86_400_000_000

  private static func options(
    count: Int = 20_000, _ change: (inout GeneratorOptions) -> Void = { _ in }
  ) -> GeneratorOptions {
    var options = GeneratorOptions(timeline: .spread(start: start, span: day, count: count))
    change(&options)
    return options
  }

  private func records(_ options: GeneratorOptions, _ range: Range<Int>) -> [GeneratedRecord] {
    let generator = EventGenerator(options)
    return range.map { index in
      var record = GeneratedRecord()
      generator.write(index, into: &record)
      return record
    }
  }

  private func object(_ record: GeneratedRecord) throws -> [String: Any] {
    let parsed = try JSONSerialization.jsonObject(with: Data(record.value))
    return try #require(parsed as? [String: Any])
  }

  @Test("The same seed gives the same bytes, whatever was generated before; another seed gives others")
  func determinism() {
    let options = Self.options { $0.malformedShare = 0.1 }
    let first = records(options, 0..<2_000)
    let again = records(options, 1_000..<2_000)
    #expect(first[1_000...].map(\.value) == again.map(\.value))
    #expect(first[1_000...].map(\.key) == again.map(\.key))
    let other = records(Self.options { $0.seed = 2 }, 0..<100)
    #expect(Set(other.map(\.key)).isDisjoint(with: Set(first.map(\.key))))
  }

  @Test("Events are valid JSON of the event's schema, about 400 bytes long")
  func validity() throws {
    let all = records(Self.options(), 0..<5_000)
    for record in all {
      let event = try object(record)
      let id = try #require(event["id"] as? String)
      #expect(UUID(uuidString: id)?.uuidString.lowercased() == id)
      #expect(record.key == Array(id.utf8))
      #expect(event["session_id"] is String && event["model"] is String)
      #expect(event["input_tokens"] is Int && event["output_tokens"] is Int && event["cost_usd"] is Double)
      if let searches = event["searches"] as? [[String: Any]] {
        #expect(searches.count == event["search_count"] as? Int)
        let results = searches.compactMap { $0["resultCount"] as? Int }
        #expect(results.reduce(0, +) == event["total_results"] as? Int)
      }
      #expect(event["success"] as? Bool != (event["error"] != nil))
    }
    let average = all.reduce(0) { $0 + $1.value.count } / all.count
    #expect((350...470).contains(average))
  }

  @Test("Times stand in the span, in every style, and a duration is the time between start and end")
  func times() throws {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    func milliseconds(_ value: Any?) throws -> Int64 {
      if let number = value as? Int64 { return number }
      let text = try #require(value as? String)
      // Foundation reads three digits of a fraction.
      let short = text.replacing(/(\.\d{3})\d+/) { "\($0.1)" }
      return Int64((try #require(formatter.date(from: short)).timeIntervalSince1970 * 1_000).rounded())
    }
    var styles: Set<String> = []
    for record in records(Self.options { $0.lateShare = 0.2 }, 0..<3_000) {
      let event = try object(record)
      let created = try milliseconds(event["created_at"])
      #expect((Self.start / 1_000..<(Self.start + Self.day) / 1_000).contains(created))
      let (start, end) = (try milliseconds(event["start_time"]), try milliseconds(event["end_time"]))
      #expect(start <= end && end <= created)
      if let duration = event["duration_ms"] as? Int64 { #expect(duration == end - start) }
      styles.insert((event["created_at"] as? String).map { String($0.suffix(1)) } ?? "number")
    }
    #expect(styles == ["Z", "0", "number"])
  }

  @Test("Costs follow from tokens and the model's price, and models differ")
  func costs() throws {
    var prices: [String: Set<Int>] = [:]
    for record in records(Self.options(), 0..<2_000) {
      let event = try object(record)
      guard event["output_tokens"] as? Int == 0, let tokens = event["input_tokens"] as? Int, tokens > 0 else {
        continue
      }
      let nanos = (try #require(event["cost_usd"] as? Double) * 1e9).rounded()
      prices[try #require(event["model"] as? String), default: []].insert(
        Int((nanos / Double(tokens)).rounded()))
    }
    #expect(prices.values.allSatisfy { $0.count == 1 })
    #expect(Set(prices.values.map(\.first)).count == prices.count)
  }

  @Test("Shares are near what was asked for")
  func shares() throws {
    let all = records(
      Self.options {
        $0.successRate = 0.9
        $0.searchShare = 0.4
        $0.logShare = 0.1
        $0.duplicateShare = 0.05
        $0.malformedShare = 0.02
      }, 0..<20_000)
    func share(_ matches: (GeneratedRecord) -> Bool) -> Double {
      Double(all.count(where: matches)) / Double(all.count)
    }
    #expect(abs(share { $0.outcome == .duplicate } - 0.05) < 0.01)
    #expect(abs(share { if case .rejected = $0.outcome { true } else { false } } - 0.02) < 0.005)
    let good = try all.filter { $0.outcome == .stored }.map(object)
    func goodShare(_ matches: ([String: Any]) -> Bool) -> Double {
      Double(good.count(where: matches)) / Double(good.count)
    }
    #expect(abs(goodShare { $0["error"] == nil } - 0.9) < 0.02)
    #expect(abs(goodShare { $0["search_count"] != nil } - 0.4) < 0.02)
    #expect(abs(goodShare { $0["logs"] != nil } - 0.1) < 0.02)
  }

  @Test("Domains and models are skewed, and as many as asked for")
  func skew() throws {
    let events = try records(Self.options { $0.duplicateShare = 0 }, 0..<20_000).map(object)
    let domains = Dictionary(grouping: events.compactMap { $0["domain"] as? String }, by: \.self).mapValues(
      \.count)
    let models = Dictionary(grouping: events.compactMap { $0["model"] as? String }, by: \.self).mapValues(
      \.count)
    #expect((450...500).contains(domains.count))
    #expect(models.count == 8)
    // Zipf: 1 / (1 + 1/2 + ... + 1/500) is 0.147.
    #expect(abs(Double(domains.values.max() ?? 0) / 20_000 - 0.147) < 0.015)
    #expect((models.values.max() ?? 0) > 4 * (models.values.min() ?? 0))
    #expect(Set(Catalog(domains: 2_000, models: 30).domains).count == 2_000)
    #expect(Set(Catalog(domains: 1, models: 30).models.map(\.name)).count == 30)
  }

  @Test("Durations are log-normal: the mean is well over the median, and their logarithms are not skewed")
  func durations() throws {
    let options = Self.options {
      $0.models = 1
      $0.successRate = 1
      $0.duplicateShare = 0
    }
    let durations = try records(options, 0..<20_000).compactMap { try object($0)["duration_ms"] as? Double }
      .sorted()
    let median = durations[durations.count / 2]
    let mean = durations.reduce(0, +) / Double(durations.count)
    // The mean of a log-normal is the median times e^(sigma^2 / 2), here e^0.32.
    #expect(abs(mean / median - exp(0.32)) < 0.06)
    let (low, high) = (durations[durations.count / 20], durations[durations.count * 19 / 20])
    #expect(abs(log(median / low) - log(high / median)) < 0.1)
  }

  @Test("A repeat has the bytes of an earlier record, and is said to be one")
  func repeats() {
    var seen: Set<[UInt8]> = []
    for record in records(Self.options { $0.duplicateShare = 0.3 }, 0..<5_000) {
      #expect(record.outcome == (seen.insert(record.value).inserted ? .stored : .duplicate))
    }
  }

  @Test("Live events follow each other at the rate, to the microsecond")
  func live() {
    let timeline = EventTimeline.live(start: 1_000, rate: 3)
    #expect((0...4).map { timeline.slot(of: $0).time } == [1_000, 334_333, 667_666, 1_001_000, 1_334_333])
    let spread = EventTimeline.spread(start: 5, span: 100 * Self.day, count: 1_000_000_000)
    #expect(spread.slot(of: 999_999_999).time == 5 + 100 * Self.day - 8_640)
  }
}

@Suite struct MalformationTests {
  /// The reasons that dead letters may have.
  private static let reasons: Set<String> = [
    "invalid_utf8", "invalid_json", "not_an_object", "missing_field", "wrong_type", "out_of_range",
    "invalid_time",
    "future_time", "past_time", "too_long", "too_deep",
  ]

  private func spoilt(_ malformation: Malformation) -> [UInt8] {
    let generator = EventGenerator(
      GeneratorOptions(timeline: .spread(start: 1_769_817_600_000_000, span: 1_000_000, count: 1)))
    var record = GeneratedRecord()
    generator.write(0, into: &record)
    malformation.spoil(&record.value)
    return record.value
  }

  @Test("Every reason occurs, and records stay lines")
  func reasons() {
    #expect(Set(Malformation.allCases.map(\.reason)) == Self.reasons)
    for malformation in Malformation.allCases { #expect(!spoilt(malformation).contains(0x0A)) }
  }

  @Test("What is called invalid JSON is, and the rest is valid", arguments: Malformation.allCases)
  func validity(malformation: Malformation) {
    let parsed = try? JSONSerialization.jsonObject(with: Data(spoilt(malformation)))
    #expect((parsed == nil) == ["invalid_json", "invalid_utf8"].contains(malformation.reason))
    #expect((parsed is [String: Any]) == (parsed != nil && malformation != .notAnObject))
  }

  @Test("The field that is spoilt is the one that is named")
  func fields() throws {
    func field(_ malformation: Malformation, _ name: String) throws -> Any? {
      let parsed = try JSONSerialization.jsonObject(with: Data(spoilt(malformation)))
      return try #require(parsed as? [String: Any])[name]
    }
    #expect(try field(.missingSession, "session_id") is NSNull)
    #expect(try field(.missingModel, "model") is NSNull)
    #expect(try field(.numberInString, "input_tokens") as? String == "12")
    #expect(try field(.fraction, "output_tokens") as? Double == 1.5)
    #expect(try field(.negativeTokens, "input_tokens") as? Int == -1)
    #expect(try field(.hugeCost, "cost_usd") as? Int == 1_000_000)
    #expect(try field(.unreadableTime, "created_at") as? String == "yesterday")
    #expect(try field(.endlessSession, "session_id").map { "\($0)".count } == 600)
  }
}
