import Testing

@testable import TelemetryBench

@Suite("Freshness")
struct FreshnessTests {
  private static let start = ContinuousClock.now

  private static func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

  private static func look(_ seconds: Double, _ events: Int) -> FreshnessRun.Look {
    FreshnessRun.Look(at: at(seconds), events: events)
  }

  @Test("The k-th event is visible at the first look that sees k, and never if none does")
  func latencies() {
    let latencies = FreshnessRun.latencies(
      produced: [0, 1, 2, 3].map { Self.at($0) },
      looks: [Self.look(0.5, 0), Self.look(1.5, 2), Self.look(2, 2), Self.look(4, 3)])
    #expect(latencies.map { ($0 * 10).rounded() } == [15, 5, 20])
  }

  @Test("Events that others have stored too do not count for more than were produced")
  func surplus() {
    #expect(FreshnessRun.latencies(produced: [Self.at(0)], looks: [Self.look(1, 5)]).count == 1)
  }
}
