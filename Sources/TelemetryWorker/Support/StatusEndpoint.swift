import Foundation
import Monitoring

/// `/api/status`: what `status --json` prints, for dashboards.
enum StatusEndpoint {
  static func all(_ settings: Settings) -> [HTTPEndpoint] {
    [
      HTTPEndpoint(path: "/api/status", title: "Positions, views, coordinator, dead letters and days (JSON)")
      { _ in
        // Blocks on the database and the brokers: not on the pool that serves the other requests.
        let json = try await onOwnThread { try Console.json(WorkerStatus.read(settings)) }
        return .json(json)
      }
    ]
  }

  private static func onOwnThread(_ work: @escaping @Sendable () throws -> String) async throws -> String {
    try await withCheckedThrowingContinuation { continuation in
      let thread = Thread { continuation.resume(with: Result { try work() }) }
      thread.name = "status"
      thread.start()
    }
  }
}
