import Kafka
import Testing

@testable import Pipeline

@Suite("How far a partition is behind")
struct LagTests {
  private let partition = TopicPartition(topic: "t", partition: 0)

  /// Read and handed over from offset 10 on; the record at offset n is stamped n seconds after the epoch.
  private func progress(takenTo next: Int64, handed: Bool = false, committed: Bool = false)
    -> PartitionProgress
  {
    var progress = PartitionProgress(partition: partition, stored: 10, next: 10)
    for offset in 10..<max(next, 10) { _ = progress.take(offset: offset, timestampMs: offset * 1_000) }
    if handed || committed { _ = progress.handOver() }
    if committed { progress.acknowledge(next) }
    return progress
  }

  private func end(_ offset: Int64, askedAtMs: Int64 = 0) -> KnownEnd {
    KnownEnd(offset: offset, askedAtMs: askedAtMs)
  }

  @Test(
    "At the end the lag is 0 and the end is the position, also when the broker's answer is older than that")
  func atTheEnd() {
    var estimate = LagEstimate()
    let all = progress(takenTo: 20, committed: true)
    #expect(estimate.lag(of: all, end: end(20), nowMs: 90_000) == PartitionLag(end: 20, seconds: 0))
    #expect(estimate.lag(of: all, end: end(15), nowMs: 90_000) == PartitionLag(end: 20, seconds: 0))
  }

  @Test(
    "What was read is as old as its first record, before and after the hand-over, and the end is not before it"
  )
  func inHand() {
    var estimate = LagEstimate()
    let read = progress(takenTo: 20)
    #expect(estimate.lag(of: read, end: end(12), nowMs: 70_000) == PartitionLag(end: 20, seconds: 60))
    let handed = progress(takenTo: 20, handed: true)
    #expect(estimate.lag(of: handed, end: end(25), nowMs: 70_000) == PartitionLag(end: 25, seconds: 60))
  }

  @Test("What is behind the batch with the writer is not the oldest")
  func behindTheWriter() {
    var estimate = LagEstimate()
    var both = progress(takenTo: 20, handed: true)
    for offset in Int64(20)..<30 { _ = both.take(offset: offset, timestampMs: offset * 1_000) }
    #expect(estimate.lag(of: both, end: end(30), nowMs: 70_000).seconds == 60)
    both.acknowledge(20)
    #expect(estimate.lag(of: both, end: end(30), nowMs: 70_000).seconds == 50)
  }

  @Test(
    "A record not read is no older than the last committed one, nor than the time at which there was none")
  func notRead() {
    var estimate = LagEstimate()
    let all = progress(takenTo: 20, committed: true)
    #expect(estimate.lag(of: all, end: end(25, askedAtMs: 80_000), nowMs: 80_000).seconds == 61)
    // A long silence, and then a record: its age is not that of the silence.
    #expect(estimate.lag(of: all, end: end(20, askedAtMs: 500_000), nowMs: 500_500).seconds == 0)
    #expect(estimate.lag(of: all, end: end(21, askedAtMs: 502_000), nowMs: 502_500).seconds == 2.5)
    estimate.keep([])
    #expect(estimate.lag(of: all, end: end(21, askedAtMs: 502_000), nowMs: 502_500).seconds == 483.5)
  }

  @Test("Where nothing tells the age, none is made up; a clock that is behind makes none negative")
  func unknownAge() {
    var estimate = LagEstimate()
    let none = progress(takenTo: 10)
    #expect(estimate.lag(of: none, end: end(25), nowMs: 80_000) == PartitionLag(end: 25, seconds: nil))
    #expect(estimate.lag(of: progress(takenTo: 20), end: end(25), nowMs: 9_000).seconds == 0)
  }

  @Test("Records held back for the next batch pass for as old as the first of this one")
  func heldBack() {
    var held = progress(takenTo: 20)
    _ = held.handOver(heldFrom: 15)
    held.acknowledge(15)
    var estimate = LagEstimate()
    #expect(estimate.lag(of: held, end: end(20), nowMs: 70_000).seconds == 60)
    _ = held.handOver()
    held.acknowledge(20)
    #expect(estimate.lag(of: held, end: end(20), nowMs: 70_000).seconds == 0)
  }

  @Test("Ends are kept for what is watched; an answer that comes after that is dropped")
  func watching() {
    let other = TopicPartition(topic: "t", partition: 1)
    let ends = PartitionEnds()
    ends.watch([partition, other])
    #expect(ends[partition] == nil && ends.watched == [partition, other])
    ends.learn(end(7), of: partition)
    ends.watch([partition])
    ends.learn(end(8), of: other)
    #expect(ends[partition] == end(7) && ends[other] == nil && ends.watched == [partition])
  }
}
