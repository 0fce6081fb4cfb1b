import CRdKafka

/// What became of a producer's records.
public struct DeliveryCounts: Sendable, Equatable {
  /// Acknowledged by the brokers.
  public internal(set) var delivered = 0
  /// Given up; never stored, unless a broker's acknowledgement was lost.
  public internal(set) var failed = 0
  /// Why the first of the failed ones was given up.
  public internal(set) var firstError: KafkaError?

  public init(delivered: Int = 0, failed: Int = 0, firstError: KafkaError? = nil) {
    self.delivered = delivered
    self.failed = failed
    self.firstError = firstError
  }
}

/// What librdkafka calls back for a producer.
///
/// Threads: delivery reports and errors come inside `rd_kafka_poll` and `rd_kafka_flush`, on the producer's
/// thread, and so may count without a lock. The log callback comes on any thread and touches only `logger`.
final class DeliveryReports {
  private let logger: KafkaLogger?
  private(set) var counts = DeliveryCounts()

  init(logger: KafkaLogger?) {
    self.logger = logger
  }

  func connect(to conf: OpaquePointer) {
    rd_kafka_conf_set_dr_msg_cb(conf) { _, message, opaque in
      DeliveryReports.from(opaque).add(message!)
    }
    rd_kafka_conf_set_error_cb(conf) { _, code, reason, opaque in
      // Lost connections are retried by librdkafka, and end in a failed delivery if that does not help.
      let reports = DeliveryReports.from(opaque)
      reports.logger?(
        DeliveryReports.errorLevel, "ERROR", reason.map { String(cString: $0) } ?? "code \(code)")
    }
    rd_kafka_conf_set_log_cb(conf) { client, level, facility, text in
      guard let client, let facility, let text, let opaque = rd_kafka_opaque(client) else { return }
      DeliveryReports.from(opaque).logger?(level, String(cString: facility), String(cString: text))
    }
  }

  /// Syslog's "error".
  private static let errorLevel: Int32 = 3

  private func add(_ message: UnsafePointer<rd_kafka_message_t>) {
    guard message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR else {
      counts.delivered += 1
      return
    }
    counts.failed += 1
    guard counts.firstError == nil else { return }
    let topic = message.pointee.rkt.map { String(cString: rd_kafka_topic_name($0)) } ?? ""
    counts.firstError = KafkaError(message.pointee.err, during: "deliver a record to topic \"\(topic)\"")
  }

  private static func from(_ opaque: UnsafeMutableRawPointer?) -> DeliveryReports {
    Unmanaged<DeliveryReports>.fromOpaque(opaque!).takeUnretainedValue()
  }
}
