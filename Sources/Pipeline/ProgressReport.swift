import Kafka
import Monitoring

/// Shows where each partition stands, once a second, paused or not. The loop alone makes it, so that nothing is
/// reported of a partition after it was taken back.
struct ProgressReport {
  private let observer: Observer
  private let ends: PartitionEnds
  private var estimate = LagEstimate()
  private var lastMs: Int64?

  private static let everyMs: Int64 = 1_000

  init(observer: Observer, ends: PartitionEnds) {
    self.observer = observer
    self.ends = ends
  }

  /// Returns whether it was due.
  mutating func makeIfDue(_ progress: [PartitionProgress]) -> Bool {
    let steadyMs = SteadyClock.nowMs()
    if let lastMs, steadyMs - lastMs < Self.everyMs { return false }
    lastMs = steadyMs
    estimate.keep(Set(progress.map(\.partition)))
    let nowMs = WallClock.now() / 1_000
    for each in progress {
      // Until a broker has told the end, nothing is known of the lag.
      let lag = ends[each.partition].map { estimate.lag(of: each, end: $0, nowMs: nowMs) }
      observer.emit(
        ConsumerEvent.progress(
          each.partition.label, committed: each.committed, highWatermark: lag?.end, lagSeconds: lag?.seconds))
    }
    return true
  }
}
