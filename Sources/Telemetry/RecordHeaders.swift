/// Kafka record headers: a list of names with optional values, where names repeat and neither needs to be text.
///
/// They are kept packed (a length and the bytes, for each name and value) and rendered only for a dead letter.
public enum RecordHeaders {
  /// Appends one header to those packed in `arena` just before.
  ///
  /// The headers of a record are the stretch of the arena from its first header to its last.
  public static func append(
    name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer?, to arena: inout ByteArena
  ) {
    arena.reserve(16 + name.count + (value?.count ?? 0))
    arena.appendBigEndian(Int64(name.count))
    arena.append(name)
    arena.appendBigEndian(Int64(value?.count ?? -1))
    if let value { arena.append(value) }
  }

  /// Renders packed headers as JSON that jsonb takes: `[{"key":"k","value":"text"}]`.
  ///
  /// A null value is null. What is not UTF-8 or holds U+0000, which jsonb cannot store, is given in Base64 under
  /// `value_base64` or `key_base64` instead.
  public static func json(_ packed: UnsafeRawBufferPointer) -> String {
    var text = "["
    var offset = 0
    while offset < packed.count {
      if offset > 0 { text += "," }
      text += "{"
      let name = take(packed, &offset)
      renderMember("key", name ?? UnsafeRawBufferPointer(start: nil, count: 0), into: &text)
      text += ","
      if let value = take(packed, &offset) {
        renderMember("value", value, into: &text)
      } else {
        text += "\"value\":null"
      }
      text += "}"
    }
    return text + "]"
  }

  /// The next name or value; nil for a null.
  private static func take(_ packed: UnsafeRawBufferPointer, _ offset: inout Int) -> UnsafeRawBufferPointer? {
    let count = Int(Int64(bigEndian: packed.loadUnaligned(fromByteOffset: offset, as: Int64.self)))
    offset += 8
    if count < 0 { return nil }
    defer { offset += count }
    return UnsafeRawBufferPointer(rebasing: packed[offset..<offset + count])
  }

  private static func renderMember(_ name: String, _ bytes: UnsafeRawBufferPointer, into text: inout String) {
    if !bytes.contains(0), let string = String(validating: bytes, as: UTF8.self) {
      text += "\"\(name)\":\""
      appendEscaped(string, to: &text)
    } else {
      text += "\"\(name)_base64\":\""
      appendBase64(bytes, to: &text)
    }
    text += "\""
  }

  private static func appendEscaped(_ string: String, to text: inout String) {
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\u{00}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
  }

  /// RFC 4648 section 4, with padding.
  private static func appendBase64(_ bytes: UnsafeRawBufferPointer, to text: inout String) {
    let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let group = bytes[start..<min(start + 3, bytes.count)]
      var bits: UInt32 = 0
      for place in 0..<3 { bits = bits << 8 | (place < group.count ? UInt32(group[start + place]) : 0) }
      for place in 0..<4 {
        if place > group.count {
          text += "="
        } else {
          let digit = Int(bits >> UInt32(18 - 6 * place)) & 63
          text.unicodeScalars.append(Unicode.Scalar(alphabet.utf8Start[digit]))
        }
      }
    }
  }
}
