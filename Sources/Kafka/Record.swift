import CRdKafka

/// One record, borrowed from librdkafka's fetch buffer: nothing is copied.
///
/// Valid only inside the closure it was handed to. Its buffers must not be kept: the memory behind them is
/// given back when the closure returns.
public struct Record: ~Copyable {
  private let message: UnsafeMutablePointer<rd_kafka_message_t>
  /// The topic's number in this consumer, from 0 in the order topics were first met: cheap to index by.
  public let topicID: Int
  /// Shared by all records of the topic.
  public let topic: String

  init(_ message: UnsafeMutablePointer<rd_kafka_message_t>, topicID: Int, topic: String) {
    self.message = message
    self.topicID = topicID
    self.topic = topic
  }

  public var partition: Int32 { message.pointee.partition }

  public var offset: Int64 { message.pointee.offset }

  /// The record's time in Unix milliseconds, set by its producer or by the broker; -1 when it has none.
  public var timestampMs: Int64 { rd_kafka_message_timestamp(message, nil) }

  /// nil is a record without a key, which differs from an empty one.
  public var key: UnsafeRawBufferPointer? {
    message.pointee.key.map { UnsafeRawBufferPointer(start: $0, count: message.pointee.key_len) }
  }

  /// nil is a tombstone, which differs from an empty value.
  public var value: UnsafeRawBufferPointer? {
    message.pointee.payload.map { UnsafeRawBufferPointer(start: $0, count: message.pointee.len) }
  }

  /// Calls `body` with each header in order. Headers are parsed on the first call, so records nobody asks
  /// about cost nothing. A header's value may be nil, and a name may come more than once.
  public borrowing func forEachHeader(_ body: (_ name: String, _ value: UnsafeRawBufferPointer?) -> Void) {
    var headers: OpaquePointer?
    guard rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
    var name: UnsafePointer<CChar>?
    var value: UnsafeRawPointer?
    var count = 0
    var index = 0
    while rd_kafka_header_get_all(headers, index, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR {
      if let name {
        body(String(cString: name), value.map { UnsafeRawBufferPointer(start: $0, count: count) })
      }
      index += 1
    }
  }

  /// Copies of all headers, in order.
  public borrowing func headers() -> [Header] {
    var headers: [Header] = []
    forEachHeader { name, value in headers.append(Header(name, value: value.map { Array($0) })) }
    return headers
  }
}

/// A record's header, copied.
public struct Header: Hashable, Sendable {
  public let name: String
  public let value: [UInt8]?

  public init(_ name: String, value: [UInt8]?) {
    self.name = name
    self.value = value
  }
}
