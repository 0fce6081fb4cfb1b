import Synchronization

/// Decides how many records may be read now, so that no more than a rate of them is read a second.
///
/// Tokens come in at the rate and are kept up to a tenth of a second's worth: a pause is not made up for by a burst.
struct TokenBucket: Equatable, Sendable {
  /// Records a second, at least 1.
  let rate: Int
  private var tokens: Double
  /// Milliseconds of the steady clock.
  private var lastMs: Int64

  init(rate: Int, nowMs: Int64) {
    precondition(rate > 0, "a rate of \(rate) records a second would never end")
    self.rate = rate
    tokens = 1
    lastMs = nowMs
  }

  private var capacity: Double { max(1, Double(rate) / 10) }

  /// Takes up to `wanted` tokens, and returns how many.
  mutating func take(_ wanted: Int, nowMs: Int64) -> Int {
    refill(nowMs)
    let taken = max(0, min(wanted, Int(tokens)))
    tokens -= Double(taken)
    return taken
  }

  /// Puts tokens back that were not needed.
  mutating func giveBack(_ unused: Int) { tokens = min(capacity, tokens + Double(unused)) }

  /// Milliseconds until there is a token again, at least 1.
  func waitMs(nowMs: Int64) -> Int64 {
    let missing = 1 - tokens - Double(max(0, nowMs - lastMs)) * Double(rate) / 1_000
    return max(1, Int64((missing * 1_000 / Double(rate)).rounded(.up)))
  }

  private mutating func refill(_ nowMs: Int64) {
    guard nowMs > lastMs else { return }
    tokens = min(capacity, tokens + Double(nowMs - lastMs) * Double(rate) / 1_000)
    lastMs = nowMs
  }
}

/// One bucket for several loops, each on a thread of its own.
final class SharedPace: Sendable {
  private let bucket: Mutex<TokenBucket>

  init(rate: Int) { bucket = Mutex(TokenBucket(rate: rate, nowMs: SteadyClock.nowMs())) }

  func take(_ wanted: Int) -> Int { bucket.withLock { $0.take(wanted, nowMs: SteadyClock.nowMs()) } }

  func giveBack(_ unused: Int) {
    if unused > 0 { bucket.withLock { $0.giveBack(unused) } }
  }

  var waitMs: Int64 { bucket.withLock { $0.waitMs(nowMs: SteadyClock.nowMs()) } }
}
