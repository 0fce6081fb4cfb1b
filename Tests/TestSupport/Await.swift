import Foundation

/// What was awaited did not come.
public struct TimedOut: Error, CustomStringConvertible {
  public var what: String
  public init(what: String) { self.what = what }
  public var description: String { "waited in vain: \(what)" }
}

/// Waits until a condition holds, looking again every few milliseconds. The limit only ends a test that would hang.
public func eventually(
  _ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool
) async throws {
  let clock = ContinuousClock()
  let deadline = clock.now + limit
  while clock.now < deadline {
    if try await condition() { return }
    try await Task.sleep(for: .milliseconds(20))
  }
  throw TimedOut(what: what)
}

/// Does work whose end is the promise under test. Work that hangs is left behind, so that it fails its own test and
/// does not keep the whole run from ending, as awaiting its task would.
public func ends(
  _ what: String, within limit: Duration = .seconds(30), _ work: @escaping @Sendable () async throws -> Void
) async throws {
  let (news, report) = AsyncThrowingStream<Void, any Error>.makeStream()
  Task {
    do {
      try await work()
      report.yield()
    } catch {
      report.finish(throwing: error)
    }
  }
  let limiting = Task {
    try await Task.sleep(for: limit)
    report.finish(throwing: TimedOut(what: "\(what) to end"))
  }
  defer { limiting.cancel() }
  for try await _ in news { return }
  throw CancellationError()
}
