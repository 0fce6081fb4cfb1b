import CRdKafka

/// A librdkafka handle and what its callbacks need, destroyed together and in the right order.
final class Client {
  /// Valid until `destroy`.
  let handle: OpaquePointer
  private let callbacks: AnyObject
  private(set) var isDestroyed = false

  /// - Parameter callbacks: the object behind librdkafka's opaque pointer. librdkafka keeps it unretained, so
  ///   it is kept here until the last of its threads is gone.
  init(
    _ kind: rd_kafka_type_t, configuration: consuming ClientConfiguration, callbacks: AnyObject
  ) throws(KafkaError) {
    configuration.withPointer {
      rd_kafka_conf_set_opaque($0, Unmanaged.passUnretained(callbacks).toOpaque())
    }
    self.callbacks = callbacks
    self.handle = try configuration.makeClient(kind)
  }

  /// Ends librdkafka's threads. A consumer must have left its group before, or waits for its session timeout.
  func destroy() {
    guard !isDestroyed else { return }
    isDestroyed = true
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
    withExtendedLifetime(callbacks) {}
  }

  deinit { destroy() }

  /// What raised the fatal state the client is in, or nil.
  func fatalError(during operation: String) -> KafkaError? {
    var reason = ErrorText()
    let code = reason.write { rd_kafka_fatal_error(handle, $0, $1) }
    guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
    return KafkaError(code, during: operation, message: reason.text, isFatal: true)
  }
}

/// Throws unless librdkafka said that the call went well.
func check(_ code: rd_kafka_resp_err_t, _ operation: @autoclosure () -> String) throws(KafkaError) {
  guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
  throw KafkaError(code, during: operation())
}
