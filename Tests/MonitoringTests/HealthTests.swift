import Testing

@testable import Monitoring

@Suite("Health")
struct HealthTests {
  @Test("what is awaited holds readiness back, not liveness")
  func awaiting() {
    let health = HealthState(awaiting: ["kafka"])
    #expect(health.isLive && !health.isReady)
    #expect(health.obstacles == ["kafka": "starting"])
    health.report("kafka", .ok)
    #expect(health.isReady)
  }

  @Test("a failure ends both liveness and readiness, with its reason")
  func failure() {
    let health = HealthState()
    health.report("consumer", .failed("fenced"))
    #expect(!health.isLive && !health.isReady)
    #expect(health.failures == ["consumer": "fenced"] && health.obstacles == ["consumer": "fenced"])
  }
}
