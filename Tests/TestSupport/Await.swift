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
