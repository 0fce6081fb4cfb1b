import Testing

@testable import Kafka

@Suite("Reminding librdkafka to fetch")
struct FetchReminderTests {
  private let start = ContinuousClock.now

  /// Delivers 10,000-byte records until a reminder is due; nil when none was within 1,000.
  private func deliver(to reminder: inout FetchReminder, at now: ContinuousClock.Instant) -> Int? {
    (1...1_000).first { _ in reminder.delivered(valueBytes: 10_000) { now } }
  }

  @Test("The first reminder comes when 256 KiB were delivered")
  func first() {
    var reminder = FetchReminder(isNeeded: true)
    #expect(deliver(to: &reminder, at: start) == 26)
  }

  @Test("A reminder is not repeated within 50 ms while records are waiting")
  func interval() {
    var reminder = FetchReminder(isNeeded: true)
    _ = deliver(to: &reminder, at: start)
    #expect(deliver(to: &reminder, at: start + .milliseconds(49)) == nil)
    #expect(deliver(to: &reminder, at: start + .milliseconds(50)) != nil)
  }

  @Test("An empty queue is worth a reminder at once, but not after a few records")
  func dry() {
    var reminder = FetchReminder(isNeeded: true)
    _ = deliver(to: &reminder, at: start)
    #expect(!reminder.mayRunDry)
    for _ in 0..<25 { _ = reminder.delivered(valueBytes: 10_000) { start } }
    #expect(!reminder.mayRunDry)
    _ = reminder.delivered(valueBytes: 10_000) { start }
    #expect(reminder.mayRunDry)
    reminder.reminded(start)
    #expect(!reminder.mayRunDry)
  }

  @Test("A librdkafka that looks by itself is never reminded")
  func notNeeded() {
    var reminder = FetchReminder(isNeeded: false)
    #expect(deliver(to: &reminder, at: start) == nil)
    #expect(!reminder.mayRunDry)
  }
}
