import Dispatch
import Foundation
import TestSupport
import Testing

@Suite("What blocks the shared pool", .timeLimit(.minutes(2)))
struct SharedPoolTests {
  /// Takes every thread of the pool, and as many more as it may get in their place, until `end`.
  private final class Blockers: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let count = 256

    func begin() {
      for _ in 0..<count { Task.detached { self.block() } }
    }

    func end() {
      for _ in 0..<count { semaphore.signal() }
    }

    private func block() { semaphore.wait() }
  }

  @Test("keeps no batch waiting")
  func batches() async throws {
    let stage = try Stage()
    var random = SeededGenerator(seed: 1)
    var truth = Truth()
    try stage.produce(100, &random, &truth)
    try await stage.whileConsuming { _ in
      try await stage.drained(100)
      try whileBlocked {
        try stage.produce(5_000, &random, &truth)
        let deadline = Date(timeIntervalSinceNow: 30)
        while try !stage.isDrained(5_100) {
          let isInTime = Date() < deadline
          try #require(isInTime, "not everything was stored")
          Thread.sleep(forTimeInterval: 0.02)
        }
      }
    }
    #expect(try truth.differences(in: stage.database) == [])
  }

  /// Without an `await`, for the thread that this runs on is the last one left.
  private func whileBlocked(_ work: () throws -> Void) rethrows {
    let blockers = Blockers()
    blockers.begin()
    defer { blockers.end() }
    try work()
  }
}
