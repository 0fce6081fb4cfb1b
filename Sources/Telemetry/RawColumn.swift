/// The columns of `chat_telemetry` that the worker writes, in the order in which a row is encoded.
///
/// `total_tokens` is generated and `updated_at` defaults to the transaction's time.
public enum RawColumn: Int, CaseIterable, Sendable {
  case createdAt, id, sessionID, conversationID, domain, model, startTime, endTime
  case durationMs, iterations, maxIterations, searchCount, totalResults, finalResponseLength
  case inputTokens, outputTokens, costUSD, success, error, userAgent, ipAddress
  case searches, logs, modelConfig

  /// The column's name in SQL.
  public var name: String {
    switch self {
    case .createdAt: "created_at"
    case .id: "id"
    case .sessionID: "session_id"
    case .conversationID: "conversation_id"
    case .domain: "domain"
    case .model: "model"
    case .startTime: "start_time"
    case .endTime: "end_time"
    case .durationMs: "duration_ms"
    case .iterations: "iterations"
    case .maxIterations: "max_iterations"
    case .searchCount: "search_count"
    case .totalResults: "total_results"
    case .finalResponseLength: "final_response_length"
    case .inputTokens: "input_tokens"
    case .outputTokens: "output_tokens"
    case .costUSD: "cost_usd"
    case .success: "success"
    case .error: "error"
    case .userAgent: "user_agent"
    case .ipAddress: "ip_address"
    case .searches: "searches"
    case .logs: "logs"
    case .modelConfig: "model_config"
    }
  }

  /// The column's type in SQL, whose binary format the encoded row uses.
  public var sqlType: String {
    switch self {
    case .createdAt, .startTime, .endTime: "timestamptz"
    case .id: "uuid"
    case .sessionID, .conversationID, .domain, .model, .error, .userAgent, .ipAddress: "text"
    case .durationMs, .iterations, .maxIterations, .searchCount, .totalResults, .finalResponseLength,
      .inputTokens, .outputTokens:
      "integer"
    case .costUSD: "numeric"
    case .success: "boolean"
    case .searches, .logs, .modelConfig: "jsonb"
    }
  }
}
