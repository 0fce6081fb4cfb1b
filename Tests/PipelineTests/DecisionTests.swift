import Kafka
import Store
import Telemetry
import Testing

@testable import Pipeline

@Suite("When a part of a batch is handed over, and whether the batch goes on")
struct BatchLimitsTests {
  let limits = BatchLimits(events: 100, bytes: 1_000, flushMs: 200)

  @Test(
    "A part is full in bytes, or in events together with the parts before it",
    arguments: [
      (100, 0, 0, true), (101, 0, 0, true), (1, 0, 1_000, true), (40, 60, 1, true), (40, 59, 999, false),
      (0, 0, 0, false),
    ])
  func full(events: Int, before: Int, bytes: Int, expected: Bool) {
    #expect(limits.isFull(events: events, before: before, bytes: bytes) == expected)
  }

  @Test(
    "A part goes to the idle writer when it is full, or old enough",
    arguments: [(100, true, Int64(0)), (1, true, 0), (1, false, 200), (0, false, 200), (1, false, 5_000)])
  func handsOver(events: Int, isFull: Bool, ageMs: Int64) {
    #expect(limits.decide(events: events, isFull: isFull, ageMs: ageMs, writerIsIdle: true) == .handOver)
  }

  @Test("A part that is neither full nor old waits for just the rest of its time")
  func waits() {
    #expect(limits.decide(events: 99, isFull: false, ageMs: 150, writerIsIdle: true) == .wait(ms: 50))
    #expect(limits.decide(events: 1, isFull: false, ageMs: 0, writerIsIdle: true) == .wait(ms: 200))
  }

  @Test("While another part is written, and while there is nothing, it waits until something comes")
  func waitsForSomething() {
    #expect(limits.decide(events: 500, isFull: true, ageMs: 9_999, writerIsIdle: false) == .wait(ms: nil))
    #expect(limits.decide(events: 0, isFull: false, ageMs: nil, writerIsIdle: true) == .wait(ms: nil))
  }

  @Test("Under a backlog a part of age grows on, up to its bounds and a longest age")
  func backlog() {
    func decide(events: Int, ageMs: Int64, behind: Int64) -> BatchLimits.Decision {
      limits.decide(
        events: events, isFull: events >= 100, ageMs: ageMs, writerIsIdle: true, recordsBehind: { behind })
    }
    #expect(decide(events: 50, ageMs: 300, behind: 51) == .wait(ms: 200))
    #expect(decide(events: 50, ageMs: 1_900, behind: 51) == .wait(ms: 100))
    #expect(decide(events: 50, ageMs: 300, behind: 50) == .handOver)
    #expect(decide(events: 50, ageMs: 2_000, behind: 9_999) == .handOver)
    #expect(decide(events: 100, ageMs: 0, behind: 9_999) == .handOver)
    // Fewer than a quarter of a batch are the live edge, however few the part has.
    #expect(decide(events: 5, ageMs: 300, behind: 25) == .handOver)
    #expect(decide(events: 5, ageMs: 300, behind: 26) == .wait(ms: 200))
  }

  @Test("A few records behind are the live edge, however large a batch may become")
  func liveEdge() {
    let limits = BatchLimits(events: 1_000_000, bytes: 1_000, flushMs: 200)
    func decide(behind: Int64) -> BatchLimits.Decision {
      limits.decide(events: 5, isFull: false, ageMs: 300, writerIsIdle: true, recordsBehind: { behind })
    }
    #expect(decide(behind: 25_000) == .handOver)
    #expect(decide(behind: 25_001) == .wait(ms: 200))
  }

  @Test(
    "A batch goes on while more than another part waits, until it is large, old, wide or takes much memory"
  )
  func goesOn() {
    func goesOn(
      events: Int = 60, sumsBytes: Int = 10, days: Int = 1, ageMs: Int64 = 10, behind: Int64 = 21
    ) -> Bool {
      let size = BatchLimits.Size(events: events, sumsBytes: sumsBytes, days: days, ageMs: ageMs)
      return limits.goesOn(size, lastPart: 20, recordsBehind: behind)
    }
    #expect(goesOn())
    #expect(!goesOn(behind: 20))
    #expect(goesOn(events: 99))
    #expect(!goesOn(events: 100))
    #expect(goesOn(sumsBytes: (44 << 20) - 1))
    #expect(!goesOn(sumsBytes: 44 << 20))
    #expect(goesOn(days: 32))
    #expect(!goesOn(days: 33))
    #expect(goesOn(ageMs: 4_999))
    #expect(!goesOn(ageMs: 5_000))
  }
}

@Suite("How many parts a batch may have")
struct BatchGrowthTests {
  @Test("One at first, and more with every batch that is committed")
  func grows() {
    var growth = BatchGrowth()
    var parts: [Int] = []
    for second in 0..<30 {
      parts.append(growth.parts)
      growth.committed(nowMs: Int64(second))
    }
    #expect(parts.prefix(4) == [1, 8, 64, 512])
    #expect(parts == parts.sorted())
    #expect(growth.parts > 1_000)
  }

  @Test("After a loss batches are whole for half a minute, and then grow again")
  func afterLoss() {
    var growth = BatchGrowth()
    growth.committed(nowMs: 0)
    growth.lost(nowMs: 1_000)
    #expect(growth.parts == 1)
    growth.committed(nowMs: 30_999)
    #expect(growth.parts == 1)
    growth.committed(nowMs: 31_000)
    #expect(growth.parts == 8)
  }
}

@Suite("How long a retry waits")
struct RetryPolicyTests {
  @Test("The ceiling doubles from the first delay up to the longest, also after very many failures")
  func doubles() {
    let policy = RetryPolicy(firstMs: 100, longestMs: 10_000)
    let ceilings = [1, 2, 3, 4, 7, 8, 20, 1_000_000].map {
      policy.delayMs(failures: $0, random: 1.0.nextDown)
    }
    #expect(ceilings == [100, 199, 399, 799, 6_399, 9_999, 9_999, 9_999])
  }

  @Test("The delay spreads evenly from the first delay up, so that replicas do not come back together")
  func spreads() {
    let policy = RetryPolicy(firstMs: 100, longestMs: 10_000)
    #expect(policy.delayMs(failures: 5, random: 0) == 100)
    #expect(policy.delayMs(failures: 5, random: 0.5) == 850)
    #expect(RetryPolicy(firstMs: 500, longestMs: 50).delayMs(failures: 3, random: 0.9) == 50)
  }
}

@Suite("How far a partition has come")
struct PartitionProgressTests {
  @Test("A record is taken once: one from before the position is not")
  func takesOnce() {
    let progress = Progress(stored: 10)
    #expect([9, 10, 10, 11].map { progress.take($0) } == [false, true, false, true])
    #expect(progress.value.next == 12)
  }

  @Test("Holes that compaction and transaction markers leave are passed, and so is the end")
  func passesHoles() {
    let progress = Progress(stored: 10)
    #expect(progress.take(15, timestampMs: -1))
    progress.value.reachedEnd(at: 18)
    progress.value.reachedEnd(at: 12)
    #expect(progress.move() == [10, 18])
    #expect(progress.value.lastTimestampMs == nil)
  }

  @Test("Each move is handed over once and begins where the last one ended")
  func movesJoin() {
    let progress = Progress(stored: 10)
    #expect(progress.move() == [])
    _ = progress.take(10, timestampMs: 77)
    #expect(progress.value.hasMoved)
    #expect(progress.move() == [10, 11])
    #expect(!progress.value.hasMoved)
    #expect(progress.move() == [])
    _ = progress.take(11, timestampMs: -1)
    #expect(progress.move() == [11, 12])
    #expect(progress.value.lastTimestampMs == 77)
  }

  @Test("A move ends before the first record that has to wait for the next batch")
  func stopsBeforeHeld() {
    let progress = Progress(stored: 10)
    for offset in 10..<20 { _ = progress.take(Int64(offset)) }
    #expect(progress.move(heldFrom: 14) == [10, 14])
    #expect(progress.value.hasMoved, "what was held back is still to be written")
    #expect(progress.move(heldFrom: 14) == [])
    #expect(progress.move() == [14, 20])
  }

  @Test("What the broker dropped is counted, and is part of the next move")
  func countsGaps() {
    let behind = Progress(stored: 10, next: 25)
    #expect(behind.value.hasMoved)
    #expect(behind.move() == [10, 25])
    #expect([30, 30, 3].map { behind.value.skipGap(to: $0) } == [5, 0, 0])
    #expect(behind.move() == [25, 30])
    #expect(Progress(stored: 10, next: 0).value.next == 10)
  }

  @Test("Acknowledgements only ever move forward")
  func acknowledges() {
    let progress = Progress(stored: 10)
    progress.value.acknowledge(30)
    progress.value.acknowledge(20)
    #expect(progress.value.committed == 30)
  }
}

/// A value whose changing calls can stand in an expectation.
private final class Progress {
  var value: PartitionProgress

  init(stored: Int64, next: Int64? = nil) {
    value = PartitionProgress(
      partition: TopicPartition(topic: "t", partition: 0), stored: stored, next: next ?? stored)
  }

  func take(_ offset: Int64, timestampMs: Int64 = 1) -> Bool {
    value.take(offset: offset, timestampMs: timestampMs)
  }

  /// From and to, or nothing.
  func move(heldFrom held: Int64? = nil) -> [Int64] {
    value.handOver(heldFrom: held).map { [$0.from, $0.to] } ?? []
  }
}

@Suite("What the group has given")
struct AssignmentTests {
  private let first = TopicPartition(topic: "a", partition: 0)
  private let second = TopicPartition(topic: "b", partition: 7)

  private func active() -> Assignment {
    var assignment = Assignment()
    assignment.own([first, second])
    assignment.activate([
      PartitionProgress(partition: first, stored: 5, next: 5),
      PartitionProgress(partition: second, stored: 100, next: 100),
    ])
    return assignment
  }

  /// Whether each record, by topic, partition and offset, was taken.
  private func take(_ assignment: inout Assignment, _ records: [(String, Int32, Int64)]) -> [Bool] {
    records.map { assignment.take(topic: $0.0, partition: $0.1, offset: $0.2, timestampMs: $0.2) }
  }

  @Test("Nothing is taken before the positions are known, nor from a partition that is not ours")
  func takesOwnOnly() {
    var loading = Assignment()
    loading.own([first])
    #expect(loading.state == .loading)
    let early = take(&loading, [("a", 0, 5)])
    #expect(early == [false])
    var assignment = active()
    let taken = take(
      &assignment, [("a", 7, 500), ("c", 0, 500), ("a", 0, 5), ("b", 7, 100), ("a", 0, 5), ("b", 7, 101)])
    #expect(taken == [false, false, true, true, false, true])
  }

  @Test("Every change of what is owned makes what was read before void")
  func numbersGrow() {
    var assignment = active()
    var numbers = [assignment.number]
    assignment.beginLoading()
    numbers.append(assignment.number)
    #expect(!assignment.hasMoved && assignment.next(of: first) == nil)
    assignment.release()
    numbers.append(assignment.number)
    #expect(assignment.state == .none)
    assignment.own([])
    numbers.append(assignment.number)
    #expect(assignment.state == .active, "a member without partitions has nothing to load")
    #expect(numbers == numbers.sorted() && Set(numbers).count == 4)
  }

  @Test("A hand-over has the moves of all partitions, each up to what is held back")
  func handsOver() {
    var assignment = active()
    _ = take(&assignment, [("a", 0, 5), ("a", 0, 6), ("a", 0, 7), ("a", 0, 8), ("b", 7, 100)])
    let advances = assignment.handOver(heldFrom: [TopicPartitionName(topic: "a", partition: 0): 7])
    #expect(advances.map(\.partition) == [first.name, second.name])
    #expect(advances.map(\.from) == [5, 100])
    #expect(advances.map(\.to) == [7, 101])
    #expect(assignment.hasMoved)
    let rest = assignment.handOver()
    #expect(rest.map(\.from) == [7] && rest.map(\.to) == [9])
    assignment.acknowledge(advances)
    #expect(assignment.progress.map(\.committed) == [7, 101])
  }

  @Test("Failures to load add up until the positions are there")
  func countsFailures() {
    var assignment = Assignment()
    assignment.own([first])
    assignment.retryLoading(atMs: 40)
    assignment.retryLoading(atMs: 90)
    #expect(assignment.state == .retrying(atMs: 90) && assignment.failures == 2)
    assignment.beginLoading()
    #expect(assignment.state == .loading && assignment.failures == 2, "asked once, and not again")
    assignment.activate([PartitionProgress(partition: first, stored: 0, next: 0)])
    #expect(assignment.state == .active && assignment.failures == 0)
  }
}
