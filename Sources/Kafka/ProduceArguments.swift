import CRdKafka

/// Fills the argument vector of `rd_kafka_produceva`: the variadic calls cannot be reached from Swift.
struct ProduceArguments {
  private let buffer: UnsafeMutableBufferPointer<rd_kafka_vu_t>
  private(set) var count = 0

  init(_ buffer: UnsafeMutableBufferPointer<rd_kafka_vu_t>) {
    self.buffer = buffer
  }

  mutating func add(_ type: rd_kafka_vtype_t, _ value: rd_kafka_vu_t.__Unnamed_union_u) {
    buffer.initializeElement(at: count, to: rd_kafka_vu_t(vtype: type, u: value))
    count += 1
  }

  /// librdkafka reads these bytes and does not write them.
  mutating func add(_ type: rd_kafka_vtype_t, bytes: UnsafeRawBufferPointer) {
    let start = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? emptyBytes)
    add(type, .init(mem: .init(ptr: start, size: bytes.count)))
  }
}

/// An address for buffers of no bytes: to librdkafka a null pointer is a null key or value, not an empty one.
/// Never freed, never read. `nonisolated(unsafe)` because nobody writes it.
nonisolated(unsafe) let emptyBytes = UnsafeRawPointer(
  UnsafeMutableRawPointer.allocate(byteCount: 1, alignment: 1))
