import CEventDecoder

/// One field of the event that the parser holds, read by the rule of its kind.
///
/// Valid until the parser's next event. Absent and null are the same: nil.
struct EventField {
  let column: RawColumn
  private let slot: UnsafePointer<event_field>

  @inline(__always)
  init(_ column: RawColumn, of slots: UnsafePointer<event_field>) {
    self.column = column
    slot = slots + column.rawValue
  }

  var name: String { column.name }
  var isAbsent: Bool { slot.pointee.kind == EVENT_VALUE_ABSENT || slot.pointee.kind == EVENT_VALUE_NULL }
  var isArray: Bool { slot.pointee.kind == EVENT_VALUE_ARRAY }
  /// The value as it stands in the event.
  var json: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: slot.pointee.json, count: slot.pointee.json_count)
  }
  var nulRepairs: Int { Int(slot.pointee.nul_repairs) }
  var surrogateRepairs: Int { Int(slot.pointee.surrogate_repairs) }

  func text() throws(Rejection) -> UTF8Text? {
    if isAbsent { return nil }
    guard slot.pointee.kind == EVENT_VALUE_STRING else { throw wrongType("a string") }
    return UTF8Text(start: slot.pointee.text, count: slot.pointee.text_count)
  }

  func boolean() throws(Rejection) -> Bool? {
    if isAbsent { return nil }
    switch slot.pointee.kind {
    case EVENT_VALUE_TRUE: return true
    case EVENT_VALUE_FALSE: return false
    default: throw wrongType("a boolean")
    }
  }

  func integer() throws(Rejection) -> Int64? {
    if isAbsent { return nil }
    return try EventInteger.read(slot.pointee.kind, json, name: name)
  }

  /// Milliseconds, rounded half up.
  func milliseconds() throws(Rejection) -> Int64? {
    if isAbsent { return nil }
    guard slot.pointee.kind == EVENT_VALUE_NUMBER else { throw wrongType("a number") }
    guard let rounded = ScaledNumber(json).rounded, EventInteger.range.contains(rounded) else {
      throw .outOfRange(name, allowed: EventInteger.allowed, json)
    }
    return rounded
  }

  /// Micro-dollars, rounded half up.
  func microDollars() throws(Rejection) -> Int64? {
    if isAbsent { return nil }
    guard slot.pointee.kind == EVENT_VALUE_NUMBER else { throw wrongType("a number") }
    guard let micros = ScaledNumber(json, timesTenTo: 6).rounded, 0...999_999_999_999 ~= micros else {
      throw .outOfRange(name, allowed: "0 to 999999.999999", json)
    }
    return micros
  }

  func time() throws(Rejection) -> PostgresMicros? {
    if isAbsent { return nil }
    switch slot.pointee.kind {
    case EVENT_VALUE_STRING:
      let text = UTF8Text(start: slot.pointee.text, count: slot.pointee.text_count)
      guard let time = PostgresTime.fromRFC3339(text) else {
        throw Rejection(.invalidTime, "\(name): no RFC 3339 time: \(Excerpt.of(json))")
      }
      return time
    case EVENT_VALUE_NUMBER:
      let number = ScaledNumber(json)
      guard number.isExact else {
        throw .wrongType(name, "a fraction", expected: "an integer of milliseconds", json)
      }
      guard let milliseconds = number.exactly, let time = PostgresTime.fromUnix(milliseconds: milliseconds)
      else { throw Rejection(.invalidTime, "\(name): beyond what timestamptz holds: \(Excerpt.of(json))") }
      return time
    default: throw wrongType("a time")
    }
  }

  func wrongType(_ expected: String) -> Rejection {
    .wrongType(name, slot.pointee.kind.name, expected: expected, json)
  }
}

/// The integers of an event: JSON numbers whose value is an integer, however they are written.
enum EventInteger {
  static let range: ClosedRange<Int64> = 0...Int64(Int32.max)
  static let allowed = "0 to 2147483647"

  static func read(
    _ kind: event_value_kind, _ json: UnsafeRawBufferPointer, name: @autoclosure () -> String
  ) throws(Rejection) -> Int64 {
    guard kind == EVENT_VALUE_NUMBER else {
      throw .wrongType(name(), kind.name, expected: "an integer", json)
    }
    let number = ScaledNumber(json)
    guard number.isExact else { throw .wrongType(name(), "a fraction", expected: "an integer", json) }
    guard let value = number.exactly, range.contains(value) else {
      throw .outOfRange(name(), allowed: allowed, json)
    }
    return value
  }
}
