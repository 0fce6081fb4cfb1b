import Testing

@testable import Coordinator

@Suite("When to drop what is old")
struct RetentionPlanTests {
  private let start = ContinuousClock().now
  private func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

  @Test("Every step is taken at the start, in the order of the stages, and then every hour")
  func order() {
    var plan = RetentionPlan(RetentionStep.allCases, now: start)
    var taken: [RetentionStep] = []
    while let step = plan.next(now: start) {
      taken.append(step)
      plan.finished(step, .nothingLeft, now: start)
    }
    #expect(taken == [.rawRows, .hourRollups, .dayRollups, .deadLetters, .refreshLog])
    #expect(plan.next(now: at(3_599)) == nil)
    #expect(plan.next(now: at(3_600)) == .rawRows)
  }

  @Test("What is kept for ever is never a step")
  func keepsAll() {
    var plan = RetentionPlan([.hourRollups], now: start)
    #expect(plan.next(now: start) == .hourRollups)
    plan.finished(.hourRollups, .nothingLeft, now: start)
    #expect(plan.next(now: at(3_599)) == nil)
    #expect(RetentionPlan([], now: start).next(now: at(1_000_000)) == nil)
  }

  @Test("A step that got on goes on at once, and the later stages look again")
  func progress() {
    var plan = RetentionPlan([.rawRows, .hourRollups, .dayRollups], now: start)
    for step in [.rawRows, .hourRollups, .dayRollups] as [RetentionStep] {
      plan.finished(step, .nothingLeft, now: start)
    }
    plan.finished(.hourRollups, .progress, now: at(1_000))
    #expect(plan.next(now: at(1_000)) == .hourRollups)
    plan.finished(.hourRollups, .nothingLeft, now: at(1_001))
    #expect(plan.next(now: at(1_001)) == .dayRollups)
    plan.finished(.dayRollups, .nothingLeft, now: at(1_002))
    #expect(plan.next(now: at(3_599)) == nil)
  }

  @Test("A step that is delayed waits 2 s, doubling up to 5 minutes, while the others go on")
  func delays() {
    var plan = RetentionPlan([.rawRows, .hourRollups], now: start)
    var pauses: [Duration] = []
    for _ in 0..<10 { pauses.append(plan.finished(.rawRows, .delayed, now: start)) }
    #expect(pauses == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300].map { .seconds($0) })
    #expect(plan.next(now: start) == .hourRollups)
    #expect(plan.next(now: at(299)) == .hourRollups)
    #expect(plan.next(now: at(300)) == .rawRows)
    plan.finished(.rawRows, .progress, now: at(300))
    #expect(plan.finished(.rawRows, .delayed, now: at(300)) == .seconds(2))
  }

  @Test("The wait for the raw table is 100 ms, grows to 800 ms, and is never 1 % of the pause once it grows")
  func lockWait() {
    var plan = RetentionPlan([.rawRows], now: start)
    var waits: [Int] = []
    for _ in 0..<40 {
      waits.append(plan.lockWaitMs)
      let pause = plan.finished(.rawRows, .delayed, now: start)
      if waits.last! > 100 { #expect(Duration.milliseconds(waits.last! * 100) < pause) }
    }
    #expect(waits.prefix(9) == [100, 100, 100, 100, 100, 200, 400, 800, 800])
    #expect(waits.max() == 800)
    plan.finished(.rawRows, .progress, now: start)
    #expect(plan.lockWaitMs == 100)
  }
}
