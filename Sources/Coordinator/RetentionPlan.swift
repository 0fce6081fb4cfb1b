/// What retention does, in the order in which the stages of a day must go.
public enum RetentionStep: Int, CaseIterable, Sendable {
  case rawRows, hourRollups, dayRollups, deadLetters, refreshLog
}

/// Decides which step of retention is next, and when.
///
/// Plain arithmetic on the instants of a clock that only goes forward; the caller owns the clock and takes one step at
/// a time, so that nothing else waits long behind retention. Whether a step finds anything to do is the database's to
/// say: the plan only asks often enough.
public struct RetentionPlan: Equatable, Sendable {
  public enum Outcome: Equatable, Sendable {
    /// Nothing is old enough: look again after ``interval``.
    case nothingLeft
    /// Something went, and there may be more: go on at once.
    case progress
    /// Somebody holds a lock, or the step failed: try again soon, then less often.
    case delayed
  }

  /// Between two looks of a step that found nothing.
  public static let interval = Duration.seconds(3_600)
  /// The wait after the first delay; doubled with each further one.
  public static let retryAfter = Duration.seconds(2)
  /// The longest wait after a delay.
  public static let retryAtMost = Duration.seconds(300)
  /// The first waits for the raw table's lock, in milliseconds, and the longest one.
  public static let lockWaitsMs = 100...800

  private var dueAt: [RetentionStep: ContinuousClock.Instant] = [:]
  /// Delays in a row.
  private var delays: [RetentionStep: Int] = [:]

  /// A plan of these steps, all due at once.
  public init(_ steps: [RetentionStep], now: ContinuousClock.Instant) {
    for step in steps { dueAt[step] = now }
  }

  /// The step to take now, the earliest stage first; nil when there is none.
  public func next(now: ContinuousClock.Instant) -> RetentionStep? {
    RetentionStep.allCases.first { step in dueAt[step].map { $0 <= now } ?? false }
  }

  /// Notes what became of a step; returns how long it waits now.
  @discardableResult
  public mutating func finished(
    _ step: RetentionStep, _ outcome: Outcome, now: ContinuousClock.Instant
  ) -> Duration {
    let pause: Duration
    switch outcome {
    case .nothingLeft: pause = Self.interval
    case .progress: pause = .zero
    case .delayed: pause = min(Self.retryAtMost, Self.retryAfter * (1 << min(delays[step, default: 0], 20)))
    }
    delays[step] = outcome == .delayed ? delays[step, default: 0] + 1 : 0
    dueAt[step] = now + pause
    // What went may have been all that the later stages of its day waited for.
    if outcome == .progress {
      for (later, due) in dueAt where later.rawValue > step.rawValue { dueAt[later] = min(due, now) }
    }
    return pause
  }

  /// How long the next step waits for the raw table, in milliseconds. Every batch waits behind it, so it is short; where
  /// writers are so many that they leave no gap that long, it grows while the pauses do, and stays below 1 % of them.
  public var lockWaitMs: Int {
    let doublings = max(0, delays[.rawRows, default: 0] - 4)
    return min(Self.lockWaitsMs.upperBound, Self.lockWaitsMs.lowerBound << min(doublings, 10))
  }
}
