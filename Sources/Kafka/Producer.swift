import CRdKafka

/// Sends records. One thread at a time.
///
/// Sending is asynchronous: `produce` copies the record into librdkafka's queue, and `flush` waits until all
/// were delivered or given up (`message.timeout.ms`). `counts` says how many of each.
public final class Producer {
  let client: Client
  private let deliveries: DeliveryReports
  private var sinceServed = 0

  /// - Parameters:
  ///   - brokers: `host:port`, separated by commas.
  ///   - properties: librdkafka's own settings (`enable.idempotence`, `linger.ms`, `compression.type`...); none
  ///     of `KafkaProperties.ownedByWorker`.
  ///   - logger: where librdkafka's log lines go; nil drops them.
  public init(
    brokers: String, properties: KafkaProperties = KafkaProperties(), logger: KafkaLogger? = nil
  ) throws(KafkaError) {
    try properties.refuseOwned()
    let deliveries = DeliveryReports(logger: logger)
    let configuration = try ClientConfiguration(
      properties.completed(defaults: [:], fixed: ["bootstrap.servers": brokers]))
    configuration.withPointer { deliveries.connect(to: $0) }
    client = try Client(RD_KAFKA_PRODUCER, configuration: configuration, callbacks: deliveries)
    self.deliveries = deliveries
  }

  /// What became of the records so far, as known by the last `produce` or `flush`.
  public var counts: DeliveryCounts { deliveries.counts }

  /// Queues a record. When the queue is full, waits until there is room.
  ///
  /// - Parameters:
  ///   - partition: nil lets the partitioner choose by key.
  ///   - value: nil sends a tombstone, which differs from an empty value.
  ///   - timestampMs: Unix milliseconds; nil is now.
  public func produce(
    topic: String, partition: Int32? = nil, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?,
    headers: [Header] = [], timestampMs: Int64? = nil
  ) throws(KafkaError) {
    serveDeliveriesNowAndThen()
    while let error = enqueue(topic, partition, key, value, headers, timestampMs) {
      let isFull = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL
      guard isFull else { throw KafkaError(taking: error, during: "produce to topic \"\(topic)\"") }
      rd_kafka_error_destroy(error)
      rd_kafka_poll(client.handle, Self.fullQueueWaitMs)
    }
  }

  /// As above, from arrays.
  public func produce(
    topic: String, partition: Int32? = nil, key: [UInt8]?, value: [UInt8]?,
    headers: [Header] = [], timestampMs: Int64? = nil
  ) throws(KafkaError) {
    try withBytes(key) { (key) throws(KafkaError) in
      try withBytes(value) { (value) throws(KafkaError) in
        try produce(
          topic: topic, partition: partition, key: key, value: value, headers: headers,
          timestampMs: timestampMs)
      }
    }
  }

  /// Waits until no record is under way any more.
  /// - Throws: a timeout when some still are; call it again, or give up. A record that failed does not
  ///   throw: see `counts`.
  public func flush(timeoutMs: Int32) throws(KafkaError) {
    try check(
      rd_kafka_flush(client.handle, timeoutMs),
      "flush: \(rd_kafka_outq_len(client.handle)) records are still under way")
  }

  /// How many partitions the topic has; `isUnknownTopicOrPartition` when there is no such topic.
  public func partitionCount(ofTopic topic: String, timeoutMs: Int32) throws(KafkaError) -> Int32 {
    try client.partitionCount(ofTopic: topic, timeoutMs: timeoutMs)
  }

  private static let fullQueueWaitMs: Int32 = 100
  private static let recordsBetweenServing = 500

  /// Delivery reports wait in a queue, and hold their records' memory, until somebody asks.
  private func serveDeliveriesNowAndThen() {
    sinceServed += 1
    guard sinceServed >= Self.recordsBetweenServing else { return }
    sinceServed = 0
    rd_kafka_poll(client.handle, 0)
  }

  /// - Returns: nil, or librdkafka's error, which the caller must destroy.
  private func enqueue(
    _ topic: String, _ partition: Int32?, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?,
    _ headers: [Header], _ timestampMs: Int64?
  ) -> OpaquePointer? {
    topic.withCString { topic in
      withUnsafeTemporaryAllocation(of: rd_kafka_vu_t.self, capacity: 7) { buffer in
        var arguments = ProduceArguments(buffer)
        arguments.add(RD_KAFKA_VTYPE_TOPIC, .init(cstr: topic))
        arguments.add(RD_KAFKA_VTYPE_PARTITION, .init(i32: partition ?? -1))
        arguments.add(RD_KAFKA_VTYPE_MSGFLAGS, .init(i: RD_KAFKA_MSG_F_COPY))
        if let key { arguments.add(RD_KAFKA_VTYPE_KEY, bytes: key) }
        if let value { arguments.add(RD_KAFKA_VTYPE_VALUE, bytes: value) }
        if let timestampMs { arguments.add(RD_KAFKA_VTYPE_TIMESTAMP, .init(i64: timestampMs)) }
        let list = headers.isEmpty ? nil : makeHeaders(headers)
        if let list { arguments.add(RD_KAFKA_VTYPE_HEADERS, .init(headers: list)) }
        let error = rd_kafka_produceva(client.handle, buffer.baseAddress, arguments.count)
        // librdkafka took the headers over only if it took the record.
        if error != nil, let list { rd_kafka_headers_destroy(list) }
        return error
      }
    }
  }
}

private func makeHeaders(_ headers: [Header]) -> OpaquePointer? {
  let list = rd_kafka_headers_new(headers.count)
  for header in headers {
    withBytes(header.value) { value in
      // A value's length is told by the buffer, and a nil value by nil: -1 would count to a zero byte.
      _ = rd_kafka_header_add(
        list, header.name, -1, value.map { $0.baseAddress ?? emptyBytes }, value?.count ?? 0)
    }
  }
  return list
}

private func withBytes<Failure: Error>(
  _ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) throws(Failure) -> Void
) throws(Failure) {
  guard let bytes else { return try body(nil) }
  try bytes.span.bytes.withUnsafeBytes { (buffer) throws(Failure) in try body(buffer) }
}
