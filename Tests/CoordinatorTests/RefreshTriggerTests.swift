import Testing

@testable import Coordinator

private let second: Int64 = 1_000_000
private let minute = 60 * second
private let hour = 60 * minute
/// 2027-01-15 12:00 UTC.
private let noon: Int64 = 1_800_014_400 * second

/// One question to the trigger with the answer that is right. Times are relative to noon; the schedule's
/// ticks are at five past each hour.
private struct Case: CustomStringConvertible, Sendable {
  var description: String
  var now: Int64
  var lastStart: Int64? = -hour + 5 * minute
  var lastSeconds: Int64 = 0
  var failures = 0
  var pending = RefreshTrigger.Pending(events: 1)
  var expected: RefreshTrigger.Decision

  var history: RefreshHistory {
    var history = RefreshHistory()
    guard let lastStart else { return history }
    history.started(at: noon + lastStart, by: .schedule)
    history.finished(at: noon + lastStart + lastSeconds * second, succeeded: true)
    for _ in 0..<failures {
      history.started(at: noon + lastStart, by: .threshold)
      history.finished(at: noon + lastStart + lastSeconds * second, succeeded: false)
    }
    return history
  }
}

private func pending(_ events: Int64, change: Bool = false, windows: Bool = false) -> RefreshTrigger.Pending {
  RefreshTrigger.Pending(events: events, otherChange: change, windowsMove: windows)
}

private func wait(_ until: Int64) -> RefreshTrigger.Decision { .wait(until: noon + until) }

@Suite("When to refresh")
struct RefreshTriggerTests {
  private static let cases: [Case] = [
    Case(description: "before the tick it waits for it", now: 0, expected: wait(5 * minute)),
    Case(description: "at the tick it refreshes", now: 5 * minute, expected: .refresh(.schedule)),
    Case(
      description: "a microsecond before the tick it still waits", now: 5 * minute - 1,
      expected: wait(5 * minute)),
    Case(
      description: "a tick missed hours ago is made up at once", now: 5 * minute + 3 * hour + 17 * second,
      expected: .refresh(.schedule)),
    Case(
      description: "after the tick was done it waits for the next", now: 5 * minute + 1,
      lastStart: 5 * minute,
      expected: wait(hour + 5 * minute)),
    Case(
      description: "many ticks missed are made up by one refresh", now: 30 * minute, lastStart: 29 * minute,
      expected: wait(hour + 5 * minute)),
    Case(
      description: "a view never refreshed is refreshed at once, even with nothing stored", now: 0,
      lastStart: nil,
      pending: pending(0), expected: .refresh(.schedule)),
    Case(
      description: "a tick with nothing new is skipped", now: 5 * minute, pending: pending(0),
      expected: .skipTick),
    Case(
      description: "a tick with nothing new but windows that move refreshes", now: 5 * minute,
      pending: pending(0, windows: true), expected: .refresh(.schedule)),
    Case(
      description: "a tick with a change that is no event refreshes", now: 5 * minute,
      pending: pending(0, change: true), expected: .refresh(.schedule)),
    Case(
      description: "windows that move do not refresh between ticks", now: 0,
      pending: pending(0, windows: true),
      expected: wait(5 * minute)),
    Case(
      description: "enough events refresh between ticks", now: 0, pending: pending(10_000),
      expected: .refresh(.threshold)),
    Case(
      description: "one event short of enough waits for the tick", now: 0, pending: pending(9_999),
      expected: wait(5 * minute)),
    Case(
      description: "enough events wait for the least interval", now: 0, lastStart: -3 * second,
      pending: pending(10_000), expected: wait(7 * second)),
    Case(
      description: "the least interval ends to the microsecond", now: 7 * second, lastStart: -3 * second,
      pending: pending(10_000), expected: .refresh(.threshold)),
    Case(
      description: "a tick waits for the least interval too", now: 5 * minute, lastStart: 5 * minute - second,
      expected: wait(5 * minute + 9 * second)),
    Case(
      description: "after a refresh of 30 s the next starts 300 s after its start", now: 0,
      lastStart: -minute,
      lastSeconds: 30, pending: pending(1_000_000), expected: wait(4 * minute)),
    Case(
      description: "a tick is put off until refreshing takes a tenth of the time", now: 5 * minute,
      lastStart: 0,
      lastSeconds: 60, expected: wait(10 * minute)),
    Case(
      description: "when the tick and enough events come together it is the schedule's refresh",
      now: 5 * minute,
      pending: pending(50_000), expected: .refresh(.schedule)),
    Case(
      description: "a tick that came while the last refresh ran is done after it", now: 6 * minute,
      lastStart: 5 * minute - second, lastSeconds: 3, expected: .refresh(.schedule)),
    Case(
      description: "after a failure it waits, though enough events are there", now: 0, lastStart: -4 * second,
      failures: 1, pending: pending(50_000), expected: wait(6 * second)),
    Case(
      description: "after a failure it tries again for the same reason", now: 6 * second,
      lastStart: -4 * second,
      failures: 1, expected: .refresh(.threshold)),
    Case(
      description: "the third failure waits four times as long", now: 0, lastStart: -4 * second, failures: 3,
      expected: wait(36 * second)),
    Case(
      description: "the wait after failures has a limit", now: 0, lastStart: -4 * second, failures: 60,
      expected: wait(296 * second)),
    Case(
      description: "a slow failure is not repeated more often than a tenth of the time", now: 0,
      lastStart: -40 * second, lastSeconds: 40, failures: 1, expected: wait(6 * minute)),
    Case(
      description: "a failure is tried again even with nothing pending", now: 10 * second, lastStart: 0,
      failures: 1, pending: pending(0), expected: .refresh(.threshold)),
    Case(
      description: "after the clock was set back the events still trigger", now: 0, lastStart: 10 * hour,
      pending: pending(10_000), expected: .refresh(.threshold)),
    Case(
      description: "after the clock was set back the schedule goes on", now: 5 * minute + second,
      lastStart: 10 * hour, expected: .refresh(.schedule)),
    Case(
      description: "after the clock was set back it does not refresh all the time", now: 20 * minute,
      lastStart: 10 * hour, expected: wait(hour + 5 * minute)),
  ]

  @Test("the table of cases", arguments: cases)
  private func table(_ question: Case) throws {
    let trigger = RefreshTrigger(
      schedule: try CronSchedule("5 * * * *"), afterEvents: 10_000, minInterval: 10 * second)
    let decision = trigger.decide(
      now: noon + question.now, history: question.history, pending: question.pending)
    #expect(decision == question.expected)
  }

  @Test("a skipped tick is done: an event right after it waits for the next one")
  func skippedTick() throws {
    let trigger = RefreshTrigger(
      schedule: try CronSchedule("5 * * * *"), afterEvents: 10_000, minInterval: 10 * second)
    var history = RefreshHistory(lastStart: noon - hour, lastFinish: noon - hour + second)
    #expect(trigger.decide(now: noon + 5 * minute, history: history, pending: pending(0)) == .skipTick)
    history.skipped(at: noon + 5 * minute)
    #expect(
      trigger.decide(now: noon + 5 * minute, history: history, pending: pending(1)) == wait(hour + 5 * minute)
    )
  }

  @Test("without a threshold only the schedule refreshes, and without a schedule only the threshold")
  func oneTriggerOnly() throws {
    let history = RefreshHistory(lastStart: noon - hour, lastFinish: noon - hour)
    let bySchedule = RefreshTrigger(
      schedule: try CronSchedule("0 0 * * *"), afterEvents: 0, minInterval: 10 * second)
    #expect(
      bySchedule.decide(now: noon, history: history, pending: pending(1_000_000_000)) == wait(12 * hour))
    let byEvents = RefreshTrigger(schedule: nil, afterEvents: 10, minInterval: 10 * second)
    #expect(byEvents.decide(now: noon, history: history, pending: pending(9)) == wait(hour))
    #expect(byEvents.decide(now: noon, history: history, pending: pending(10)) == .refresh(.threshold))
  }

  @Test("over a busy day refreshing takes at most a tenth of the time, whatever a refresh takes")
  func aBusyDay() throws {
    for cost in [second / 10, second, 20 * second, 7 * minute] {
      let trigger = RefreshTrigger(
        schedule: try CronSchedule("*/5 * * * *"), afterEvents: 1, minInterval: 10 * second)
      var (now, busy, refreshes) = (noon, Int64(0), 0)
      var history = RefreshHistory()
      while now < noon + 24 * hour {
        switch trigger.decide(now: now, history: history, pending: pending(1_000_000)) {
        case .wait(let until):
          #expect(until > now)
          now = until
        case .skipTick:
          Issue.record("there was something to show")
          return
        case .refresh(let reason):
          history.started(at: now, by: reason)
          now += cost
          busy += cost
          refreshes += 1
          history.finished(at: now, succeeded: true)
        }
      }
      #expect(busy * 10 <= now - noon + 10 * cost)
      #expect(Int64(refreshes) >= 24 * hour / max(10 * second, 10 * cost))
    }
  }
}
