/// A short piece of a payload, fit for one line of text.
enum Excerpt {
  /// At most this many scalars, an ellipsis included.
  static let limit = 80

  /// The beginning of `bytes`. Control characters and line separators are shown as `\u{1b}`, bytes that are
  /// not UTF-8 as `\xff`.
  static func of(_ bytes: UnsafeRawBufferPointer) -> String {
    var shown = String.UnicodeScalarView()
    var parser = Unicode.UTF8.ForwardParser()
    // No scalar has more than four bytes, so this holds one more than can be shown.
    var rest = bytes.prefix((limit + 1) * 4).makeIterator()
    var at = 0
    while true {
      let piece: String
      switch parser.parseScalar(from: &rest) {
      case .emptyInput: return String(shown)
      case .valid(let encoded):
        at += encoded.count
        piece = visible(Unicode.UTF8.decode(encoded))
      case .error(let length):
        piece = bytes[at..<at + length].map { "\\x" + hex(UInt32($0), width: 2) }.joined()
        at += length
      }
      let isLast = at == bytes.count
      if shown.count + piece.unicodeScalars.count > (isLast ? limit : limit - 1) {
        return String(shown) + "…"
      }
      shown.append(contentsOf: piece.unicodeScalars)
    }
  }

  /// Where the first byte stands that is no part of a valid sequence; nil if all of it is valid.
  static func firstInvalidOffset(in bytes: UnsafeRawBufferPointer) -> Int? {
    var parser = Unicode.UTF8.ForwardParser()
    var rest = bytes.makeIterator()
    var at = 0
    while true {
      switch parser.parseScalar(from: &rest) {
      case .emptyInput: return nil
      case .valid(let encoded): at += encoded.count
      case .error: return at
      }
    }
  }

  private static func visible(_ scalar: Unicode.Scalar) -> String {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: "\\u{\(hex(scalar.value, width: 1))}"
    default: String(scalar)
    }
  }

  private static func hex(_ value: UInt32, width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
}
