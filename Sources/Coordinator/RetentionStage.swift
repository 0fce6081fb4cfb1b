import Monitoring
import Postgres
import Store

/// How long things are kept, in days; 0 keeps all.
public struct RetentionSettings: Equatable, Sendable {
  public var rawDays: Int
  /// At least as long as the raw rows.
  public var hourDays: Int
  /// At least as long as the hour rollups.
  public var dayDays: Int
  public var deadLetterDays: Int
  public var refreshLogDays: Int

  public init(rawDays: Int, hourDays: Int, dayDays: Int, deadLetterDays: Int, refreshLogDays: Int) {
    self.rawDays = rawDays
    self.hourDays = hourDays
    self.dayDays = dayDays
    self.deadLetterDays = deadLetterDays
    self.refreshLogDays = refreshLogDays
  }

  func days(_ step: RetentionStep) -> Int {
    switch step {
    case .rawRows: rawDays
    case .hourRollups: hourDays
    case .dayRollups: dayDays
    case .deadLetters: deadLetterDays
    case .refreshLog: refreshLogDays
    }
  }
}

/// The coordinator's retention: at most one step a round, each a transaction of bounded work.
///
/// A step that fails does not fail the round: views must be refreshed although nothing can be dropped.
struct RetentionStage {
  private let settings: RetentionSettings
  private let observer: Observer
  private let clock = ContinuousClock()
  private var plan: RetentionPlan

  /// Rows of a step, measured to take well under a second: a day rollup brings its sketch, a dead letter its payload.
  private static let hourRollups = 10_000
  private static let dayRollups = 500
  private static let deadLetters = 500
  private static let refreshes = 5_000

  init(_ settings: RetentionSettings, observer: Observer) {
    self.settings = settings
    self.observer = observer
    plan = RetentionPlan(RetentionStep.allCases.filter { settings.days($0) > 0 }, now: ContinuousClock().now)
  }

  /// Takes the step that is due, if any. Throws only when the connection is lost.
  mutating func takeStep(_ retention: Retention) throws(PostgresError) {
    guard let step = plan.next(now: clock.now) else { return }
    do throws(PostgresError) {
      let event = try take(step, retention)
      plan.finished(step, event == nil ? .nothingLeft : .progress, now: clock.now)
      if let event { observer.emit(event) }
    } catch {
      if error.connectionLost { throw error }
      let pause = plan.finished(step, .delayed, now: clock.now).inSeconds
      if error.sqlState == .lockNotAvailable {
        observer.emit(.delayed(step.kind, reason: error.message, retryInSeconds: pause))
      } else {
        observer.emit(
          DatabaseEvent.failed(
            sqlstate: error.sqlState?.code, action: .retry, doing: error.operation,
            message: error.description, retryInSeconds: pause))
      }
    }
  }

  /// What the step did; nil when there was nothing to do.
  private func take(_ step: RetentionStep, _ retention: Retention) throws(PostgresError) -> RetentionEvent? {
    let days = settings.days(step)
    switch step {
    case .rawRows:
      return event(.raw, try retention.dropRawDay(days: days, lockWaitMs: plan.lockWaitMs))
    case .hourRollups:
      return event(.hour, try retention.dropHourRollups(days: days, rowLimit: Self.hourRollups))
    case .dayRollups:
      return event(.day, try retention.settleDayRollups(days: days, rowLimit: Self.dayRollups))
    case .deadLetters:
      let gone = try retention.deleteDeadLetters(days: days, rowLimit: Self.deadLetters)
      return gone == (0, 0)
        ? nil : .deadLettersDeleted(resolved: gone.resolved, unresolved: gone.unresolved)
    case .refreshLog:
      let rows = try retention.trimRefreshLog(days: days, rowLimit: Self.refreshes)
      return rows == 0 ? nil : .refreshLogTrimmed(rows: rows)
    }
  }

  private func event(_ kind: RetentionKind, _ part: DroppedPart?) -> RetentionEvent? {
    part.map { .dropped(kind, day: $0.day, rows: $0.rows, wholeDay: $0.wholeDay) }
  }
}

extension RetentionStep {
  fileprivate var kind: RetentionKind {
    switch self {
    case .rawRows: .raw
    case .hourRollups: .hour
    case .dayRollups: .day
    case .deadLetters: .deadLetter
    case .refreshLog: .refreshLog
    }
  }
}
