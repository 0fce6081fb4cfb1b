/// Decides how long to wait before the same work is tried again: exponential, with full jitter above a floor, so that
/// replicas that failed together do not come back together.
struct RetryPolicy: Equatable, Sendable {
  /// Milliseconds before the second attempt.
  var firstMs: Int64 = 100
  /// Milliseconds at the most.
  var longestMs: Int64 = 10_000

  /// - Parameters:
  ///   - failures: How often the work has failed in a row, at least 1.
  ///   - random: 0 ..< 1.
  func delayMs(failures: Int, random: Double) -> Int64 {
    let doublings = min(max(failures - 1, 0), 20)
    let ceiling = min(longestMs, firstMs << Int64(doublings))
    let floor = min(firstMs, ceiling)
    return floor + Int64(Double(ceiling - floor) * random)
  }
}
