import CRdKafka

/// What Kafka or librdkafka refused, and during what.
public struct KafkaError: Error, Sendable, Equatable {
  /// librdkafka's code: below 0 is raised by the client itself, above 0 comes from the broker's protocol.
  public let code: Int32
  /// The code's name, for example `_TIMED_OUT` or `UNKNOWN_TOPIC_OR_PART`.
  public let name: String
  /// librdkafka's reason in words. Never holds a secret.
  public let message: String
  /// The client can do nothing more and must be replaced by a new one.
  public let isFatal: Bool
  /// The same call may succeed later without any change.
  public let isRetriable: Bool
  /// What was attempted, as a verb phrase: "fetch the watermarks of chat-telemetry [3]".
  public let operation: String

  init(
    _ code: rd_kafka_resp_err_t, during operation: String, message: String? = nil, isFatal: Bool = false
  ) {
    self.code = code.rawValue
    self.name = String(cString: rd_kafka_err2name(code))
    let standard = String(cString: rd_kafka_err2str(code))
    self.message = message.flatMap { $0.isEmpty ? nil : $0 } ?? standard
    self.isFatal = isFatal || code == RD_KAFKA_RESP_ERR__FATAL
    self.isRetriable = !self.isFatal && Self.retriableCodes.contains(code.rawValue)
    self.operation = operation
  }

  /// Takes over `error`, which is destroyed.
  init(taking error: OpaquePointer, during operation: String) {
    self.init(
      rd_kafka_error_code(error), during: operation,
      message: String(cString: rd_kafka_error_string(error)),
      isFatal: rd_kafka_error_is_fatal(error) != 0)
    rd_kafka_error_destroy(error)
  }
}

extension KafkaError: CustomStringConvertible {
  public var description: String {
    let nature = isFatal ? ", fatal" : isRetriable ? ", may pass" : ""
    return "could not \(operation): \(message) (\(name) \(code)\(nature))"
  }
}

extension KafkaError {
  /// The call took longer than it was allowed.
  public var isTimeout: Bool {
    code == RD_KAFKA_RESP_ERR__TIMED_OUT.rawValue || code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT.rawValue
  }

  /// No broker holds such a topic, or not that partition of it.
  public var isUnknownTopicOrPartition: Bool {
    code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue
      || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC.rawValue
      || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION.rawValue
  }

  /// Codes that the protocol's error table marks retriable, and the client's own that name a passing state.
  private static let retriableCodes: Set<Int32> = Set(
    [
      RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
      RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR__WAIT_COORD,
      RD_KAFKA_RESP_ERR__IN_PROGRESS, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR__RETRY,
      RD_KAFKA_RESP_ERR__WAIT_CACHE,
      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
      RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
      RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
      RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
      RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
      RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
      RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
      RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
    ].map(\.rawValue))
}
