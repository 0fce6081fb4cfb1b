/// Decides when to refresh a view: on schedule, or as soon as enough events were stored, whichever comes
/// first.
///
/// Plain arithmetic on instants and durations in microseconds (instants since the Unix epoch); the caller
/// owns the clock and the lease, and asks again whenever something changed, or at the time it was told. It
/// keeps one ``RefreshHistory`` for each view, so that a failing view does not hold up another.
public struct RefreshTrigger: Equatable, Sendable {
  /// Nil refreshes by events alone.
  public var schedule: CronSchedule?
  /// Refresh once so many events were stored since the last refresh; 0 refreshes on schedule alone.
  public var afterEvents: Int64
  /// Between the starts of two refreshes, at least.
  public var minInterval: Int64
  /// The wait after the first failure; doubled with each further one.
  public var retryAfter: Int64 = 10_000_000
  /// The longest wait after a failure.
  public var retryAtMost: Int64 = 300_000_000

  public init(schedule: CronSchedule?, afterEvents: Int64, minInterval: Int64) {
    self.schedule = schedule
    self.afterEvents = afterEvents
    self.minInterval = minInterval
  }

  /// Why to refresh. The raw value is what the refresh log and the metrics show.
  public enum Reason: String, CaseIterable, Sendable {
    case schedule, threshold
  }

  public enum Decision: Equatable, Sendable {
    /// Nothing to do; ask again then at the latest.
    case wait(until: Int64)
    /// Refresh now: tell the history ``RefreshHistory/started(at:by:)`` and
    /// ``RefreshHistory/finished(at:succeeded:)``.
    case refresh(Reason)
    /// A tick came and nothing would change: tell the history ``RefreshHistory/skipped(at:)``, and ask again.
    case skipTick
  }

  /// What there is to show.
  public struct Pending: Equatable, Sendable {
    /// Events stored since the last refresh, by all workers.
    public var events: Int64
    /// Something else would change the view, such as days dropped.
    public var otherChange: Bool
    /// The trailing windows hold events: as time passes they move, even when nothing is stored.
    public var windowsMove: Bool

    public init(events: Int64, otherChange: Bool = false, windowsMove: Bool = false) {
      self.events = events
      self.otherChange = otherChange
      self.windowsMove = windowsMove
    }

    var isEmpty: Bool { events <= 0 && !otherChange && !windowsMove }
  }

  public func decide(now: Int64, history: RefreshHistory, pending: Pending) -> Decision {
    let earliest = earliestStart(now: now, history)
    if history.failures > 0 {
      let retry = max(earliest, retryTime(now: now, history))
      return now < retry ? .wait(until: retry) : .refresh(history.reason)
    }
    guard let tickedUntil = history.tickedUntil else {
      // Never refreshed: the view is empty, whatever the schedule says.
      return .refresh(.schedule)
    }
    let tick = nextTick(now: now, after: tickedUntil)
    if let tick, tick <= now {
      if pending.isEmpty { return .skipTick }
      return now < earliest ? .wait(until: earliest) : .refresh(.schedule)
    }
    if afterEvents > 0, pending.events >= afterEvents {
      return now < earliest ? .wait(until: earliest) : .refresh(.threshold)
    }
    return .wait(until: tick ?? now + Self.longestWait)
  }

  /// Without a schedule there is no tick to wait for.
  private static let longestWait: Int64 = 3_600_000_000

  /// Refreshing takes a tenth of the time at most. A start in the future was on a clock set back since: it
  /// says nothing.
  private func earliestStart(now: Int64, _ history: RefreshHistory) -> Int64 {
    guard let start = history.lastStart, start <= now else { return now }
    return start + max(minInterval, 10 * history.lastDuration)
  }

  private func retryTime(now: Int64, _ history: RefreshHistory) -> Int64 {
    guard let finish = history.lastFinish, finish <= now else { return now }
    let doublings = min(history.failures - 1, 20)
    return finish + min(retryAtMost, retryAfter << Int64(doublings))
  }

  /// The first tick not yet done; however many were missed, one refresh makes them up. After the clock was
  /// set back, only the last minute's ticks are looked at, or the schedule would stand still until the clock
  /// has caught up.
  private func nextTick(now: Int64, after tickedUntil: Int64) -> Int64? {
    schedule?.next(after: tickedUntil <= now ? tickedUntil : now - 60_000_000)
  }
}

/// What is known of a view's refreshes so far. Instants and durations in microseconds, instants since the
/// Unix epoch.
public struct RefreshHistory: Equatable, Sendable {
  /// Ticks up to here are done, by a refresh or by being skipped; nil when the view was never refreshed.
  public private(set) var tickedUntil: Int64?
  public private(set) var lastStart: Int64?
  public private(set) var lastFinish: Int64?
  /// How long the last refresh took, failed or not.
  public private(set) var lastDuration: Int64 = 0
  /// Refreshes that failed in a row.
  public private(set) var failures = 0
  /// Why the last refresh was started.
  public private(set) var reason = RefreshTrigger.Reason.schedule

  /// Never refreshed.
  public init() {}

  /// Takes up the last success that the refresh log has: a tick missed since is then made up.
  public init(lastStart: Int64, lastFinish: Int64) {
    started(at: lastStart, by: .schedule)
    finished(at: lastFinish, succeeded: true)
  }

  /// A refresh begins. It does every tick until now.
  public mutating func started(at now: Int64, by reason: RefreshTrigger.Reason) {
    self.reason = reason
    lastStart = now
  }

  /// The refresh has ended.
  public mutating func finished(at now: Int64, succeeded: Bool) {
    lastFinish = now
    lastDuration = max(0, now - (lastStart ?? now))
    failures = succeeded ? 0 : failures + 1
    if succeeded { tickedUntil = lastStart ?? now }
  }

  /// A tick passed with nothing to show.
  public mutating func skipped(at now: Int64) {
    tickedUntil = now
  }
}
