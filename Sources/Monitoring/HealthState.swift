import Synchronization

/// What a part of the worker says of itself.
public enum HealthCondition: Equatable, Sendable {
  case ok
  /// Not able to work now, and why: expected to pass without a restart.
  case notReady(String)
  /// Beyond recovery, and why: the process should be restarted.
  case failed(String)

  var reason: String? {
    switch self {
    case .ok: nil
    case .notReady(let reason), .failed(let reason): reason
    }
  }
}

/// Whether the worker lives and is ready, by named conditions such as `kafka` and `postgres`. Safe on any
/// thread.
public final class HealthState: Sendable {
  private let conditions: Mutex<[String: HealthCondition]>

  /// - Parameter awaiting: conditions that hold readiness back until they are reported `ok`.
  public init(awaiting: [String] = []) {
    let initial = awaiting.map { ($0, HealthCondition.notReady("starting")) }
    conditions = Mutex(Dictionary(initial) { first, _ in first })
  }

  /// Reports a condition. A reason is shown to anybody who asks over HTTP: no secret belongs in it.
  public func report(_ name: String, _ condition: HealthCondition) {
    conditions.withLock { $0[name] = condition }
  }

  /// No condition has failed for good.
  public var isLive: Bool { failures.isEmpty }

  /// Every condition is `ok`.
  public var isReady: Bool { obstacles.isEmpty }

  /// Why the worker should be restarted, by condition.
  public var failures: [String: String] {
    conditions.withLock { conditions in
      conditions.compactMapValues { condition in
        if case .failed(let reason) = condition { reason } else { nil }
      }
    }
  }

  /// Why the worker is not ready, by condition.
  public var obstacles: [String: String] {
    conditions.withLock { $0.compactMapValues(\.reason) }
  }
}
