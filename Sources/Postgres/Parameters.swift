/// The parameters of one statement, in PostgreSQL's binary formats (`src/backend/utils/adt`, `*send` and `*recv`).
///
/// Arrays are one-dimensional; append their elements in order between `array(of:count:)` and the next parameter.
///
/// What is called for each element is inlinable: in another module it would else be generic code that asks the runtime
/// about its types at each number.
public struct Parameters: Sendable {
  /// Object ids of the built-in types, fixed by `pg_type.dat`.
  public enum TypeID: UInt32, Sendable {
    case boolean = 16
    case bytea = 17
    case int8 = 20
    case int2 = 21
    case int4 = 23
    case text = 25
    case jsonb = 3802
    case date = 1082
    case timestamptz = 1184
    case uuid = 2950
    case numeric = 1700

    var array: UInt32 {
      switch self {
      case .boolean: 1000
      case .bytea: 1001
      case .int8: 1016
      case .int2: 1005
      case .int4: 1007
      case .text: 1009
      case .jsonb: 3807
      case .date: 1182
      case .timestamptz: 1185
      case .uuid: 2951
      case .numeric: 1231
      }
    }
  }

  private(set) var types: [UInt32] = []
  /// Where each parameter begins in `bytes`; it ends where the next one begins.
  private var starts: [Int] = []
  private var areNull: [Bool] = []
  @usableFromInline private(set) var bytes: [UInt8] = []
  /// Offset of the header's null flag of the array that is being filled.
  private var openArray: Int?

  /// - Parameter expectedBytes: To make room for at once.
  public init(expectedBytes: Int = 0) { bytes.reserveCapacity(expectedBytes) }

  public var count: Int { types.count }

  /// Where each parameter stands in `bytes`; nil is null.
  var ranges: [Range<Int>?] {
    starts.indices.map { index in
      let end = index + 1 < starts.count ? starts[index + 1] : bytes.count
      return areNull[index] ? nil : starts[index]..<end
    }
  }

  public mutating func append(_ value: Int64?, as type: TypeID = .int8) {
    begin(type.rawValue)
    if let value { put(value) } else { markNull() }
  }

  public mutating func append(_ value: Int32?) {
    begin(TypeID.int4.rawValue)
    if let value { put(value) } else { markNull() }
  }

  public mutating func append(_ value: Bool) {
    begin(TypeID.boolean.rawValue)
    put(UInt8(value ? 1 : 0))
  }

  public mutating func append(_ value: String?) {
    begin(TypeID.text.rawValue)
    if let value { bytes.append(contentsOf: value.utf8) } else { markNull() }
  }

  public mutating func append(_ value: [UInt8]?) {
    begin(TypeID.bytea.rawValue)
    if let value { bytes.append(contentsOf: value) } else { markNull() }
  }

  /// Begins an array of `count` elements; exactly that many `element…` calls must follow.
  public mutating func array(of type: TypeID, count: Int) {
    begin(type.array)
    put(Int32(count == 0 ? 0 : 1))
    openArray = bytes.count
    put(Int32(0))
    put(type.rawValue)
    if count > 0 {
      put(Int32(count))
      put(Int32(1))
    }
  }

  /// An array of numbers, none of them null: all at once, for the arrays that have an element for each of many rows.
  @inlinable
  public mutating func array<Value: FixedWidthInteger>(of type: TypeID, _ values: some Collection<Value>) {
    array(of: type, count: values.count)
    let size = MemoryLayout<Value>.size
    var place = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: values.count * (MemoryLayout<Int32>.size + size)))
    bytes.withUnsafeMutableBytes { bytes in
      for value in values {
        bytes.storeBytes(of: Int32(size).bigEndian, toByteOffset: place, as: Int32.self)
        bytes.storeBytes(of: value.bigEndian, toByteOffset: place + MemoryLayout<Int32>.size, as: Value.self)
        place += MemoryLayout<Int32>.size + size
      }
    }
  }

  @inlinable
  public mutating func element<Value: FixedWidthInteger>(_ value: Value) {
    put(Int32(MemoryLayout<Value>.size))
    put(value)
  }

  @inlinable
  public mutating func element<Value: FixedWidthInteger>(_ value: Value?) {
    if let value { element(value) } else { nullElement() }
  }

  public mutating func element(_ value: Bool) { element(UInt8(value ? 1 : 0)) }

  @inlinable
  public mutating func element(bytes value: some Collection<UInt8>) {
    put(Int32(value.count))
    bytes.append(contentsOf: value)
  }

  public mutating func element(_ value: String?) {
    if let value { element(bytes: value.utf8) } else { nullElement() }
  }

  public mutating func element(_ value: [UInt8]?) {
    if let value { element(bytes: value) } else { nullElement() }
  }

  /// An element that is in its binary format already: its length (-1 for null) and its bytes.
  public mutating func element(encoded value: UnsafeRawBufferPointer) {
    bytes.append(contentsOf: value)
    if value.loadUnaligned(as: Int32.self) == -1 { markNulls() }
  }

  public mutating func nullElement() {
    put(Int32(-1))
    markNulls()
  }

  private mutating func markNulls() {
    guard let openArray else { return }
    bytes[openArray + 3] = 1
  }

  private mutating func begin(_ type: UInt32) {
    types.append(type)
    starts.append(bytes.count)
    areNull.append(false)
    openArray = nil
  }

  private mutating func markNull() { areNull[areNull.count - 1] = true }

  @inlinable
  mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }
}

/// PostgreSQL's epoch, 2000-01-01T00:00:00Z, in microseconds since the Unix epoch.
public let postgresEpochMicros: Int64 = 946_684_800_000_000
/// PostgreSQL's epoch in days since 1970-01-01.
public let postgresEpochDays: Int32 = 10_957
