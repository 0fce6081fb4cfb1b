import Foundation
import TestSupport
import Testing

/// The benchmark as a program, as tiny as it goes.
@Suite("The benchmark", .timeLimit(.minutes(2)))
struct SmokeTests {
  private struct Report: Decodable {
    struct Figure: Decodable {
      var subject: String
      var measure: String
      var median: Double
      var values: [Double]
    }
    struct Verdict: Decodable {
      var target: String
      var isMet: Bool?
    }
    var figures: [Figure]
    var targets: [Verdict]
    var serverSettings: [String: String]
  }

  @Test("A tiny run measures floor, worker and obvious way for each event, and says which targets they keep")
  func run() throws {
    let report = try Self.report([
      "--only", "floor,busy,obvious", "--events", "20000", "--obvious-events", "10000", "--rounds", "1",
      "--shared-buffers", "64MB",
    ])
    for subject in ["floor, busy", "ours, busy", "obvious, busy"] {
      for measure in ["events/s", "Postgres µs/event", "WAL bytes/event"] {
        let figure = report.figures.first { $0.subject == subject && $0.measure == measure }
        #expect((figure?.median ?? 0) > 0, "\(subject): \(measure)")
        #expect(figure?.values.count == 1, "\(subject): \(measure)")
      }
    }
    let judged = report.targets.filter { $0.isMet != nil }.map(\.target)
    #expect(judged.contains("Postgres CPU an event, ours ÷ floor, busy"))
    #expect(!judged.contains("idle worker, % of a core"))
    #expect(report.serverSettings["fsync"] == "on")
    #expect(report.serverSettings["synchronous_commit"] == "on")
  }

  private static func report(_ arguments: [String]) throws -> Report {
    let bench = Process()
    bench.executableURL = WorkerProcess.program.deletingLastPathComponent().appending(path: "telemetry-bench")
    bench.arguments = ["--json"] + arguments
    let output = Pipe()
    bench.standardOutput = output
    bench.standardError = FileHandle.nullDevice
    try bench.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    bench.waitUntilExit()
    #expect(bench.terminationStatus == 0)
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Report.self, from: text)
  }
}
