import CRdKafka

/// Where librdkafka's own log lines go: syslog level (0 emergency to 7 debug), facility (`FAIL`, `MAXPOLL`...)
/// and text. Called on any of librdkafka's threads, so it must be quick and must not call back into the client.
public typealias KafkaLogger = @Sendable (_ level: Int32, _ facility: String, _ text: String) -> Void

/// Owns a librdkafka configuration until a client is made of it.
struct ClientConfiguration: ~Copyable {
  private let conf: OpaquePointer

  /// - Throws: an error that names the property librdkafka does not know or whose value it refuses.
  init(_ properties: KafkaProperties) throws(KafkaError) {
    conf = rd_kafka_conf_new()
    for (name, value) in properties.values.sorted(by: { $0.key < $1.key }) {
      try set(name, value)
    }
  }

  /// Lets `configure` set the callbacks.
  borrowing func withPointer(_ configure: (OpaquePointer) -> Void) {
    configure(conf)
  }

  private borrowing func set(_ name: String, _ value: String) throws(KafkaError) {
    var reason = ErrorText()
    let result = reason.write { rd_kafka_conf_set(conf, name, value, $0, $1) }
    guard result != RD_KAFKA_CONF_OK else { return }
    let shown = KafkaProperties.isSecret(name) ? "its value (not shown) was refused" : reason.text
    throw KafkaError(
      RD_KAFKA_RESP_ERR__INVALID_ARG, during: "set the Kafka property \"\(name)\"", message: shown)
  }

  /// The client, which takes over the configuration when it could be made.
  consuming func makeClient(_ kind: rd_kafka_type_t) throws(KafkaError) -> OpaquePointer {
    let conf = conf
    discard self
    var reason = ErrorText()
    if let client = reason.write({ rd_kafka_new(kind, conf, $0, $1) }) { return client }
    rd_kafka_conf_destroy(conf)
    throw KafkaError(
      RD_KAFKA_RESP_ERR__INVALID_ARG, during: "create a Kafka client", message: reason.text)
  }

  deinit { rd_kafka_conf_destroy(conf) }
}

/// The buffer into which librdkafka writes why it refused something.
struct ErrorText {
  private(set) var text = ""

  mutating func write<Result>(_ body: (UnsafeMutablePointer<CChar>, Int) -> Result) -> Result {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) { buffer in
      buffer.initialize(repeating: 0)
      let result = body(buffer.baseAddress!, buffer.count)
      text = String(cString: buffer.baseAddress!)
      return result
    }
  }
}
