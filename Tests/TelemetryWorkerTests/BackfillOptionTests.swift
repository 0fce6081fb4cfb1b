import ArgumentParser
import Pipeline
import Store
import Testing

@testable import TelemetryWorker

@Suite("What a backfill is asked for") struct BackfillOptionTests {
  /// 2026-01-31T00:00:00Z.
  private let now: Int64 = 1_769_817_600_000_000

  @Test("A bound is a time, an age, an offset or an end of the partition")
  func bounds() throws {
    let day: Int64 = 86_400_000_000
    let expected: [(String, ReplayBound)] = [
      ("earliest", .earliest), ("latest", .latest), ("0", .offset(0)), ("00120", .offset(120)),
      ("9223372036854775807", .offset(.max)), ("2026-01-31T00:00:00Z", .time(micros: now)),
      ("2026-01-31T01:00:00.5+01:00", .time(micros: now + 500_000)), ("7d", .time(micros: now - 7 * day)),
      ("12h", .time(micros: now - day / 2)), ("30m", .time(micros: now - 1_800_000_000)),
    ]
    for (text, bound) in expected {
      let parsed = try #require(BackfillBound(argument: text), "\(text)")
      #expect(parsed.resolved(nowMicros: now) == bound, "\(text)")
      #expect(parsed.text == text, "what was typed is what a job is compared by")
    }
  }

  @Test(
    "Anything else is none",
    arguments: [
      "", "-1", "+1", "1.5", "now", "Earliest", "7 d", "7w", "2026-01-31", "9223372036854775808", "٣",
    ])
  func noBounds(text: String) { #expect(BackfillBound(argument: text) == nil) }

  @Test("Two bounds of one kind must leave something between them; those of two kinds cannot be compared")
  func empty() throws {
    func isEmpty(_ from: String, _ to: String) throws -> Bool {
      BackfillBound.isEmpty(
        from: try #require(BackfillBound(argument: from)), to: try #require(BackfillBound(argument: to)),
        nowMicros: now)
    }
    #expect(try isEmpty("5", "5") && isEmpty("6", "5") && isEmpty("1h", "1d") && isEmpty("1h", "60m"))
    #expect(
      try !isEmpty("5", "6") && !isEmpty("1d", "1h") && !isEmpty("500", "1h") && !isEmpty("latest", "5"))
    #expect(try isEmpty("2026-01-30T12:00:00Z", "12h"))
  }

  @Test("A job made without a name has the same one for the same request, whatever the order, and no other")
  func names() throws {
    func name(_ arguments: String..., number: Int = 1) throws -> String {
      let command = try BackfillCommand.parse(arguments)
      return BackfillSelection.name(of: command.selection.request(topics: ["chat"]), number: number)
    }
    #expect(try name("--topic", "b", "--topic", "a") == name("--topic", "a", "--topic", "b", "--topic", "a"))
    #expect(try name() == name("--topic", "chat", "--from", "earliest", "--to", "latest", "--rate", "5"))
    let names = try [
      name(), name(number: 2), name("--topic", "other"), name("--from", "1"), name("--to", "1"),
      name("--partition", "1"), name("--partition", "0"), name("--from", "7d"), name("--from", "7h"),
    ]
    #expect(Set(names).count == names.count)
    #expect(names.allSatisfy { $0.wholeMatch(of: /[a-z]+-[0-9a-f]{8}(-2)?/) != nil })
  }

  @Test(
    "Wrong usage exits with 64",
    arguments: [
      ["--from", "tomorrow"], ["--from", "5", "--to", "5"], ["--from", "1h", "--to", "1d"], ["--rate", "0"],
      ["--parallel", "0"], ["--partition", "-1"], ["--job", "a b"], ["--job", ""], ["--job", "é"],
      ["--disorder", "1h"], ["--disorder", "1h", "--to", "50"], ["--http-port", "65536"],
    ])
  func usage(arguments: [String]) throws {
    let result = try execute(["backfill"] + arguments)
    #expect(result.code == 64, "\(result.errors)")
    #expect(result.output.isEmpty && result.errors.hasPrefix("Error: "))
  }

  @Test("Help names where times come from, and an example")
  func help() throws {
    let help = BackfillCommand.helpMessage().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    let words = [
      "timestamps of Kafka's records", "--disorder", "with 75 when it was stopped",
      "telemetry-worker backfill --from 7d",
    ]
    for word in words { #expect(help.contains(word), "\(word)") }
  }
}

@Suite("How far a backfill has come") struct BackfillMeterTests {
  @Test("Share, rate and time left are told from what was left when the process began")
  func reads() {
    let meter = BackfillMeter(total: 1_000, remaining: 600, nowMs: 0)
    let reading = meter.read(remaining: 300, nowMs: 3_000)
    #expect(reading == .init(done: 700, total: 1_000, share: 70, rate: 100, secondsLeft: 3))
    #expect(reading.line(job: "j") == "backfill j: 70.0 % of 1,000 records, 100/s, about 3 s left")
  }

  @Test("Nothing is said of the time left before the first record, and all of nothing is all")
  func edges() {
    let meter = BackfillMeter(total: 10_000, remaining: 10_000, nowMs: 0)
    #expect(meter.read(remaining: 10_000, nowMs: 5_000).line(job: "j").hasSuffix("0/s, waiting for records"))
    #expect(BackfillMeter(total: 0, remaining: 0, nowMs: 0).read(remaining: 0, nowMs: 0).percent == "100.0")
    // Never 100 before the end.
    #expect(meter.read(remaining: 1, nowMs: 9).percent == "99.9")
  }

  @Test(
    "Long times are told in the two largest units",
    arguments: [(59.2, "1 min 0 s"), (58, "58 s"), (7_325, "2 h 2 min")])
  func spans(seconds: Double, text: String) {
    let reading = BackfillMeter.Reading(done: 0, total: 1, share: 0, rate: 1, secondsLeft: seconds)
    #expect(reading.line(job: "j").hasSuffix("about \(text) left"))
  }
}
