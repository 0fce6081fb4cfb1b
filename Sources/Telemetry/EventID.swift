import CEventDecoder

/// An event's UUID, as two big-endian halves.
struct EventID: Equatable {
  var high: UInt64
  var low: UInt64

  /// RFC 9562, appendix: the namespace of domain names.
  static let dnsNamespace = EventID(high: 0x6ba7_b810_9dad_11d1, low: 0x80b4_00c0_4fd4_30c8)
  /// The name under which ids that are no UUID, and coordinates, have their namespace among the domain names.
  static let namespaceName: StaticString = "telemetry-worker"

  init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// A UUID as RFC 9562 writes it, in either case; also without hyphens, in braces, or after `urn:uuid:`.
  init?(parsing text: UnsafeRawBufferPointer) {
    switch text.count {
    case 36: self.init(canonical: text)
    case 32: self.init(hexDigits: text, groupStarts: (0, 4, 8, 12, 16, 20, 24, 28))
    case 38:
      guard text[0] == UInt8(ascii: "{"), text[37] == UInt8(ascii: "}") else { return nil }
      self.init(canonical: UnsafeRawBufferPointer(rebasing: text[1..<37]))
    case 45:
      guard Self.isURN(text) else { return nil }
      self.init(canonical: UnsafeRawBufferPointer(rebasing: text[9...]))
    default: return nil
    }
  }

  private init?(canonical text: UnsafeRawBufferPointer) {
    let hyphen = UInt8(ascii: "-")
    guard text[8] == hyphen, text[13] == hyphen, text[18] == hyphen, text[23] == hyphen else { return nil }
    self.init(hexDigits: text, groupStarts: (0, 4, 9, 14, 19, 24, 28, 32))
  }

  /// From eight groups of four digits.
  private init?(
    hexDigits text: UnsafeRawBufferPointer, groupStarts at: (Int, Int, Int, Int, Int, Int, Int, Int)
  ) {
    var invalid: UInt64 = 0
    func group(_ start: Int) -> UInt64 {
      var value: UInt64 = 0
      for index in start..<start + 4 {
        let digit = Self.hexDigit(text[index])
        invalid |= digit
        value = value << 4 | (digit & 0xF)
      }
      return value
    }
    high = group(at.0) << 48 | group(at.1) << 32 | group(at.2) << 16 | group(at.3)
    low = group(at.4) << 48 | group(at.5) << 32 | group(at.6) << 16 | group(at.7)
    if invalid > 0xF { return nil }
  }

  /// Over 15 if it is none. Without a jump on the digit: a UUID's digits cannot be predicted.
  @inline(__always)
  private static func hexDigit(_ byte: UInt8) -> UInt64 {
    let decimal = byte &- UInt8(ascii: "0")
    let letter = (byte | 0x20) &- UInt8(ascii: "a")
    return UInt64(decimal < 10 ? decimal : letter < 6 ? letter &+ 10 : 0xFF)
  }

  /// RFC 8141 takes `urn` and the namespace in either case.
  private static func isURN(_ text: UnsafeRawBufferPointer) -> Bool {
    let prefix: StaticString = "urn:uuid:"
    for index in 0..<prefix.utf8CodeUnitCount {
      let byte = text[index]
      let lower = byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
      if lower != prefix.utf8Start[index] { return false }
    }
    return true
  }
}

/// Makes version 5 UUIDs in the worker's namespace.
///
/// Not thread-safe: it belongs to one decoder.
struct NameIDs: ~Copyable {
  private let parser: OpaquePointer
  private let namespace: EventID
  private var coordinates = ByteArena(capacity: 512)

  /// `parser` outlives this.
  init(parser: OpaquePointer) {
    self.parser = parser
    let name = UnsafeRawBufferPointer(
      start: EventID.namespaceName.utf8Start, count: EventID.namespaceName.utf8CodeUnitCount)
    namespace = Self.make(parser, name, in: EventID.dnsNamespace)
  }

  func id(named name: UnsafeRawBufferPointer) -> EventID { Self.make(parser, name, in: namespace) }

  /// Of "topic/partition/offset", in decimal.
  mutating func id(at record: RecordCoordinates) -> EventID {
    coordinates.truncate(to: 0)
    coordinates.append(utf8Of: record.topic)
    coordinates.append(byte: UInt8(ascii: "/"))
    coordinates.append(decimal: Int64(record.partition))
    coordinates.append(byte: UInt8(ascii: "/"))
    coordinates.append(decimal: record.offset)
    return id(named: coordinates.bytes)
  }

  private static func make(
    _ parser: OpaquePointer, _ name: UnsafeRawBufferPointer, in namespace: EventID
  ) -> EventID {
    var scope = (namespace.high.bigEndian, namespace.low.bigEndian)
    var uuid: (UInt64, UInt64) = (0, 0)
    let bytes = name.assumingMemoryBound(to: UInt8.self).baseAddress
    let made = event_parser_name_uuid(parser, &scope, bytes, name.count, &uuid)
    precondition(made != 0, "libcrypto failed to compute SHA-1")
    return EventID(high: UInt64(bigEndian: uuid.0), low: UInt64(bigEndian: uuid.1))
  }
}

extension ByteArena {
  fileprivate mutating func append(utf8Of string: String) {
    for byte in string.utf8 { append(byte: byte) }
  }

  fileprivate mutating func append(decimal number: Int64) {
    if number < 0 { append(byte: UInt8(ascii: "-")) }
    var divisor: UInt64 = 1
    while number.magnitude / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      append(byte: UInt8(ascii: "0") + UInt8(number.magnitude / divisor % 10))
      divisor /= 10
    }
  }
}
