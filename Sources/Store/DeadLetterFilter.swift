import Postgres
import Telemetry

/// Which dead letters are meant. What is not given does not matter.
public struct DeadLetterFilter: Sendable {
  public enum State: Sendable {
    /// Neither retried nor discarded yet.
    case waiting
    case resolved
    case any
  }

  /// These alone; empty for all.
  public var ids: [Int64]
  public var reason: RejectionReason?
  public var topic: String?
  /// Received then or later, in microseconds since the Unix epoch.
  public var sinceMicros: Int64?
  public var state: State

  public init(
    ids: [Int64] = [], reason: RejectionReason? = nil, topic: String? = nil, sinceMicros: Int64? = nil,
    state: State = .waiting
  ) {
    self.ids = ids
    self.reason = reason
    self.topic = topic
    self.sinceMicros = sinceMicros
    self.state = state
  }

  /// The same as an SQL condition, whose parameters are appended to `parameters`.
  func condition(_ parameters: inout Parameters) -> String {
    var terms: [String] = []
    switch state {
    case .waiting: terms.append("resolved_at IS NULL")
    case .resolved: terms.append("resolved_at IS NOT NULL")
    case .any: break
    }
    if !ids.isEmpty {
      parameters.array(of: .int8, count: ids.count)
      for id in ids { parameters.element(id) }
      terms.append("id = ANY ($\(parameters.count))")
    }
    if let reason {
      parameters.append(reason.rawValue)
      terms.append("reason = $\(parameters.count)")
    }
    if let topic {
      parameters.append(topic)
      terms.append("topic = $\(parameters.count)")
    }
    if let sinceMicros {
      parameters.append(sinceMicros - postgresEpochMicros, as: .timestamptz)
      terms.append("received_at >= $\(parameters.count)")
    }
    return terms.isEmpty ? "true" : terms.joined(separator: " AND ")
  }
}
