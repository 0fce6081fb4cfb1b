/// A plain recursive validator of RFC 8259, written for the tests alone: slow, and independent of the
/// decoder.
struct JSONValidator {
  private let bytes: [UInt8]
  private var at = 0

  /// Whether `text` is one JSON text and an object; nil if it is no JSON at all.
  static func isObject(_ text: [UInt8]) -> Bool? {
    guard String(validating: text, as: UTF8.self) != nil else { return nil }
    var validator = JSONValidator(bytes: text)
    validator.skipSpace()
    let isObject = validator.peek == UInt8(ascii: "{")
    guard validator.value() else { return nil }
    validator.skipSpace()
    return validator.peek == nil ? isObject : nil
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private var peek: UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func take(_ text: String) -> Bool {
    guard bytes[at...].starts(with: text.utf8) else { return false }
    at += text.utf8.count
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { at += 1 }
  }

  private mutating func value() -> Bool {
    skipSpace()
    switch peek {
    case UInt8(ascii: "{"): return list("{", "}") { $0.string() && $0.colon() && $0.value() }
    case UInt8(ascii: "["): return list("[", "]") { $0.value() }
    case UInt8(ascii: "\""): return string()
    case nil: return false
    default: return take("true") || take("false") || take("null") || number()
    }
  }

  private mutating func list(_ open: String, _ close: String, item: (inout Self) -> Bool) -> Bool {
    guard take(open) else { return false }
    skipSpace()
    if take(close) { return true }
    repeat {
      skipSpace()
      guard item(&self) else { return false }
      skipSpace()
    } while take(",")
    return take(close)
  }

  private mutating func colon() -> Bool {
    skipSpace()
    return take(":")
  }

  private mutating func string() -> Bool {
    guard take("\"") else { return false }
    while let byte = peek {
      if byte == UInt8(ascii: "\"") { return take("\"") }
      if byte < 0x20 { return false }
      at += 1
      if byte == UInt8(ascii: "\\"), !escape() { return false }
    }
    return false
  }

  private mutating func escape() -> Bool {
    guard let byte = peek else { return false }
    at += 1
    if byte != UInt8(ascii: "u") { return "\"\\/bfnrt".utf8.contains(byte) }
    for _ in 0..<4 {
      guard let digit = peek, Character(Unicode.Scalar(digit)).isHexDigit else { return false }
      at += 1
    }
    return true
  }

  private mutating func number() -> Bool {
    _ = take("-")
    guard take("0") || digits() else { return false }
    if take("."), !digits() { return false }
    guard take("e") || take("E") else { return true }
    _ = take("+") || take("-")
    return digits()
  }

  private mutating func digits() -> Bool {
    let first = at
    while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { at += 1 }
    return at > first
  }
}
