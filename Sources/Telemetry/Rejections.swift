import CEventDecoder

// The words of a dead letter's detail: the field, what is wrong, and the value's beginning.
extension Rejection {
  static func missing(_ field: String) -> Rejection { Rejection(.missingField, "\(field): missing") }

  static func blank(_ field: String, _ json: UnsafeRawBufferPointer) -> Rejection {
    Rejection(.missingField, "\(field): nothing but white space: \(Excerpt.of(json))")
  }

  static func wrongType(
    _ field: String, _ found: String, expected: String, _ json: UnsafeRawBufferPointer
  ) -> Rejection {
    Rejection(.wrongType, "\(field): \(found) where \(expected) was expected: \(Excerpt.of(json))")
  }

  static func outOfRange(_ field: String, allowed: String, _ json: UnsafeRawBufferPointer) -> Rejection {
    Rejection(.outOfRange, "\(field): outside \(allowed): \(Excerpt.of(json))")
  }

  static func tooLong(
    _ field: String, _ scalars: Int, limit: Int, _ json: UnsafeRawBufferPointer
  ) -> Rejection {
    Rejection(.tooLong, "\(field): \(scalars) characters where \(limit) are allowed: \(Excerpt.of(json))")
  }

  /// A value that is no event at all, by the parser's verdict.
  static func document(
    _ status: event_status, errorOffset: Int, _ value: UnsafeRawBufferPointer
  ) -> Rejection {
    switch status {
    case EVENT_INVALID_UTF8:
      let offset = Excerpt.firstInvalidOffset(in: value) ?? 0
      return Rejection(.invalidUTF8, "value: no UTF-8 at byte \(offset): \(excerpt(of: value, at: offset))")
    case EVENT_NOT_AN_OBJECT:
      return Rejection(.notAnObject, "value: no JSON object: \(Excerpt.of(value))")
    case EVENT_TOO_DEEP:
      return Rejection(.tooDeep, "value: nested over \(EVENT_MAX_DEPTH) levels: \(Excerpt.of(value))")
    default:
      if value.isEmpty { return Rejection(.invalidJSON, "value: empty") }
      if errorOffset >= value.count {
        return Rejection(.invalidJSON, "value: ends too soon: \(excerpt(of: value, at: value.count))")
      }
      let piece = excerpt(of: value, at: errorOffset)
      return Rejection(.invalidJSON, "value: no JSON at byte \(errorOffset): \(piece)")
    }
  }

  /// Some of what stands before `offset`, and what follows.
  private static func excerpt(of value: UnsafeRawBufferPointer, at offset: Int) -> String {
    var start = max(0, offset - 40)
    while start > 0 && start < offset && value[start] & 0xC0 == 0x80 { start += 1 }
    return Excerpt.of(UnsafeRawBufferPointer(rebasing: value[start...]))
  }
}

extension event_value_kind {
  /// As a sentence names it.
  var name: String {
    switch self {
    case EVENT_VALUE_NULL: "null"
    case EVENT_VALUE_TRUE, EVENT_VALUE_FALSE: "a boolean"
    case EVENT_VALUE_NUMBER: "a number"
    case EVENT_VALUE_STRING: "a string"
    case EVENT_VALUE_ARRAY: "an array"
    case EVENT_VALUE_OBJECT: "an object"
    default: "nothing"
    }
  }
}
