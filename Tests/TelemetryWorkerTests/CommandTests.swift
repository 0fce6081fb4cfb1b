import ArgumentParser
import Foundation
import Testing

@testable import TelemetryWorker

/// The program as a user meets it: a process with arguments, output and an exit code.
@Suite struct CommandTests {
  @Test(
    "Wrong settings exit with 78 and name everything wrong on standard error",
    arguments: [
      "run", "migrate", "check", "generate", "demo", "backfill",
    ])
  func configError(command: String) throws {
    let result = try execute(
      [command, "--log-level", "loud", "--config", "/nowhere.yaml", "--set", "nonsense"],
      environment: ["TELEMETRY_HTTP_PROT": "1"])
    #expect(result.code == 78)
    #expect(result.output.isEmpty)
    #expect(result.errors.hasPrefix("telemetry-worker: 4 problems with the settings\n"))
    for expected in [
      "config (file /nowhere.yaml): there is no such file", "Did you mean TELEMETRY_HTTP_PORT?",
      "log.level (flag --log-level): \"loud\" is none of these", "--set: not name=value",
    ] {
      #expect(result.errors.contains(expected), "\(result.errors)")
    }
  }

  @Test(
    "Wrong usage exits with 64",
    arguments: [
      ["generate", "--live"], ["generate", "--late", "2"], ["generate", "--count", "0"],
      ["generate", "--bogus"],
      ["generate", "--span", "5 weeks"], ["generate", "--start", "soon"],
      ["generate", "--start", "1970-01-01T00:00:00Z"], ["generate", "--span", "30000d"],
      ["run", "--role", "boss"],
      ["bogus"],
      ["demo", "--events", "0"], ["run", "--postgres-url", "x"],
    ])
  func usageError(arguments: [String]) throws {
    let result = try execute(arguments)
    #expect(result.code == 64)
    #expect(result.output.isEmpty)
    #expect(result.errors.hasPrefix("Error: "))
  }

  @Test(
    "Help and version go to standard output and exit with 0",
    arguments: [
      ["--help"], ["--version"], ["help", "run"], ["generate", "--help"],
    ])
  func help(arguments: [String]) throws {
    let result = try execute(arguments)
    #expect(result.code == 0)
    #expect(!result.output.isEmpty && result.errors.isEmpty)
  }

  @Test("generate --stdout prints as many lines as asked for, the same each time, and sums them up")
  func generate() throws {
    let arguments = [
      "generate", "--stdout", "--json", "--count", "3000", "--start", "2026-01-31T00:00:00Z", "--span", "90m",
      "--malformed", "0.05", "--duplicates", "0.1",
    ]
    let (first, second) = (try execute(arguments), try execute(arguments))
    #expect(first.code == 0)
    #expect(first.output == second.output)
    let lines = first.output.split(separator: 0x0A)
    #expect(lines.count == 3_000)
    let report = try JSONSerialization.jsonObject(with: Data(first.errors.utf8)) as? [String: Any]
    let summary = try #require(report)
    let rejected = try #require(summary["rejected"] as? [String: Int])
    let (stored, duplicates) = (summary["stored"] as? Int ?? 0, summary["duplicates"] as? Int ?? 0)
    #expect(stored + duplicates + rejected.values.reduce(0, +) == 3_000)
    #expect(summary["records"] as? Int == 3_000)
    #expect(summary["bytes"] as? Int == first.output.count - 3_000)
    // Every line that is not malformed is one of the distinct good ones.
    #expect(Set(lines).count <= stored + rejected.values.reduce(0, +))
  }

  @Test("The rate holds back: after the records of a rate of 200 a second, at least their time has passed")
  func paced() async throws {
    let command = try GenerateCommand.parse(["--count", "21", "--rate", "200", "--live"])
    let generator = EventGenerator(command.generatorOptions(now: 1_769_817_600_000_000))
    let clock = ContinuousClock()
    let start = clock.now
    var keys: [[UInt8]] = []
    let summary = try await command.produce(generator) { key, _ in keys.append(Array(key)) }
    #expect(summary.records == 21 && keys.count == 21)
    #expect(keys.allSatisfy { $0.count == 36 })
    // A lower bound only: a slow machine cannot break it.
    #expect(clock.now - start >= .milliseconds(100))
  }

  @Test("Without --start the events' span ends now")
  func span() throws {
    let command = try GenerateCommand.parse(["--count", "5", "--span", "2h"])
    let now: Int64 = 1_769_817_600_000_000
    #expect(
      command.generatorOptions(now: now).timeline
        == .spread(start: now - 7_200_000_000, span: 7_200_000_000, count: 5))
  }
}
