import Kafka
import Store
import Telemetry
import Testing

@testable import Pipeline

@Suite("What a replay decides")
struct ReplayDecisionTests {
  private let partition = TopicPartition(topic: "t", partition: 0)

  private func progress(stored: Int64, next: Int64? = nil, end: Int64) -> PartitionProgress {
    PartitionProgress(partition: partition, stored: stored, next: next ?? stored, end: end)
  }

  @Test("A partition is read up to its end and no further, also where the last offsets hold no record")
  func endsAtEnd() {
    var value = progress(stored: 10, end: 13)
    let taken = (Int64(10)...14).map { value.take(offset: $0, timestampMs: 1) }
    #expect(taken == [true, true, true, false, false])
    let move = value.handOver()
    #expect(move == PartitionProgress.Move(from: 10, to: 13, lastTimestampMs: 1))
    #expect(value.isRead && !value.isDone)
    value.acknowledge(13)
    #expect(value.isDone)

    // A transaction marker or compaction: the next record lies behind the end, or there is none.
    var hole = progress(stored: 10, end: 13)
    _ = hole.take(offset: 10, timestampMs: 1)
    let behind = hole.take(offset: 20, timestampMs: 1)
    #expect(!behind && hole.next == 13)
    var last = progress(stored: 10, end: 13)
    last.reachedEnd(at: 99)
    #expect(last.next == 13)
    var early = progress(stored: 10, end: 13)
    early.reachedEnd(at: 12)
    #expect(early.next == 12 && !early.isRead)
  }

  @Test("What the broker deleted is counted once, within the range, with the batch that moves past it")
  func countsMissing() {
    var value = progress(stored: 10, next: 15, end: 30)
    let skipped = value.skipGap(to: 18)
    #expect(skipped == 3)
    _ = value.take(offset: 18, timestampMs: -1)
    // The gap is told with the move that ends behind it.
    let held = value.handOver(heldFrom: 18)
    #expect(held?.to == 18 && held?.missing == 0)
    let move = value.handOver()
    #expect(move?.missing == 8)
    let rest = value.skipGap(to: 1_000)
    #expect(rest == 11 && value.isRead)
    #expect(progress(stored: 30, next: 50, end: 30).isDone, "nothing is left of a range that is done")
  }

  @Test("Times are from the first one on and before the last; a record without one lies in no range but all")
  func times() {
    let range = RecordTimeRange(from: 100, to: 200)
    #expect([99, 100, 199, 200, -1].map(range.contains) == [false, true, true, false, false])
    #expect([-1, 0, .max].map(RecordTimeRange.all.contains) == [true, true, true])
    #expect([-1, 0, 50].map(RecordTimeRange(from: nil, to: 50).contains) == [false, true, false])
  }

  @Test(
    "A range is what the broker holds of it now, and what it deleted before that",
    arguments: [
      (ReplayBound.earliest, ReplayBound.latest, Int64(20), Int64(90)),
      (.offset(30), .offset(40), 30, 40), (.offset(0), .latest, 0, 90), (.offset(50), .offset(500), 50, 90),
      (.offset(500), .latest, 90, 90), (.latest, .latest, 90, 90), (.earliest, .earliest, 20, 20),
      (.offset(5), .earliest, 5, 20),
    ])
  func ranges(from: ReplayBound, to: ReplayBound, start: Int64, end: Int64) {
    let range = ReplayPlan.range(
      from: from, to: to, Watermarks(low: 20, high: 90), ReplayPlan.TimeOffsets(from: nil, to: nil))
    #expect(range == start..<end)
  }

  @Test(
    "A time begins where the broker's index says, and ends with the partition unless the disorder is known")
  func timeRanges() {
    let time = ReplayBound.time(micros: 1)
    func range(_ from: Int64?, _ to: Int64?) -> Range<Int64> {
      ReplayPlan.range(
        from: time, to: time, Watermarks(low: 20, high: 90), ReplayPlan.TimeOffsets(from: from, to: to))
    }
    #expect(range(30, nil) == 30..<90, "a record stamped earlier may stand behind a later one")
    #expect(range(30, 60) == 30..<60)
    #expect(range(nil, nil) == 90..<90, "no record is stamped so late")
    #expect(range(70, 60) == 60..<60)
  }

  @Test("A time within a millisecond means the next whole one, at both ends")
  func milliseconds() {
    #expect([2_000, 2_001, 2_999, 3_000].map { ReplayBound.time(micros: $0).milliseconds } == [2, 3, 3, 3])
    #expect(ReplayBound.offset(5).milliseconds == nil)
  }

  @Test("Partitions are shared out by what is left of them, and none is for nobody")
  func shares() {
    let partitions = [10, 0, 50, 30, 15].enumerated().map { number, records in
      BackfillPartition(
        name: TopicPartitionName(topic: "t", partition: Int32(number)), start: 5, end: 5 + Int64(records))
    }
    func split(_ count: Int) -> [[Int32]] {
      Replay.split(partitions, among: count).map { $0.map(\.name.partition).sorted() }
    }
    #expect(split(1) == [[0, 2, 3, 4]])
    #expect(split(2) == [[2], [0, 3, 4]])
    #expect(split(9).count == 4)
    #expect(Replay.split([], among: 3).isEmpty)
  }
}

@Suite("The pace of a replay")
struct TokenBucketTests {
  /// Takes all it can every so many milliseconds; returns what came by when.
  private func taken(rate: Int, everyMs: Int64, forMs: Int64, wanted: Int = 1_000) -> Int {
    var bucket = TokenBucket(rate: rate, nowMs: 0)
    return stride(from: Int64(0), through: forMs, by: Int(everyMs)).reduce(0) {
      $0 + bucket.take(wanted, nowMs: $1)
    }
  }

  @Test("Over any time as many records pass as the rate allows", arguments: [1, 7, 100, 5_000])
  func rate(rate: Int) {
    for everyMs in [Int64(1), 9, 50] {
      let count = taken(rate: rate, everyMs: everyMs, forMs: 10_000)
      #expect(count <= rate * 10 + 1 && count >= rate * 10 * 95 / 100, "\(everyMs) ms: \(count)")
    }
  }

  @Test("A pause is not made up for: no more than a tenth of a second's worth comes at once")
  func noBurst() {
    var bucket = TokenBucket(rate: 1_000, nowMs: 0)
    let taken = [Int64(60_000), 60_000, 60_005].map { bucket.take(10_000, nowMs: $0) }
    #expect(taken == [100, 0, 5])
    #expect(bucket.waitMs(nowMs: 60_005) == 1)
  }

  @Test("What is given back may be taken again")
  func givesBack() {
    var bucket = TokenBucket(rate: 1_000, nowMs: 0)
    let granted = bucket.take(50, nowMs: 1_000)
    bucket.giveBack(granted - 10)
    let again = bucket.take(1_000, nowMs: 1_000)
    #expect(again == 90)
  }

  @Test("It says how long to wait for the next record")
  func waits() {
    var bucket = TokenBucket(rate: 2, nowMs: 0)
    let first = bucket.take(9, nowMs: 0)
    #expect(first == 1)
    #expect([0, 400].map { bucket.waitMs(nowMs: $0) } == [500, 100])
    let later = [Int64(400), 500].map { bucket.take(9, nowMs: $0) }
    #expect(later == [0, 1])
  }
}
