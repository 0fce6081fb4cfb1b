/// Text as UTF-8 that is known to be valid.
typealias UTF8Text = UnsafeRawBufferPointer

extension UTF8Text {
  /// Without the scalars of Unicode's White_Space property at both ends (PropList.txt, Unicode 15).
  @inline(__always)
  var trimmed: UTF8Text {
    var rest = self
    while let first = rest.first {
      // Most text begins and ends with a byte that no white space begins or ends with.
      if first > 0x20 && first < 0xC2 { break }
      let length = rest.leadingSpaceLength
      if length == 0 { break }
      rest = UTF8Text(rebasing: rest[length...])
    }
    while let last = rest.last {
      if last > 0x20 && last < 0x80 { break }
      let length = rest.trailingSpaceLength
      if length == 0 { break }
      rest = UTF8Text(rebasing: rest.dropLast(length))
    }
    return rest
  }

  /// Whether there is nothing but white space.
  var isBlank: Bool { trimmed.isEmpty }

  /// How many Unicode scalars it has.
  var scalarCount: Int {
    var scalars = 0
    for byte in self where byte & 0xC0 != 0x80 { scalars += 1 }
    return scalars
  }

  /// Whether it has more Unicode scalars than `limit`.
  @inline(__always)
  func isLonger(than limit: Int) -> Bool { count > limit && scalarCount > limit }

  private var leadingSpaceLength: Int {
    if Self.isSpace(self[0]) { return 1 }
    if count >= 2 && Self.isSpace(self[0], self[1]) { return 2 }
    if count >= 3 && Self.isSpace(self[0], self[1], self[2]) { return 3 }
    return 0
  }

  private var trailingSpaceLength: Int {
    if Self.isSpace(self[count - 1]) { return 1 }
    if count >= 2 && Self.isSpace(self[count - 2], self[count - 1]) { return 2 }
    if count >= 3 && Self.isSpace(self[count - 3], self[count - 2], self[count - 1]) { return 3 }
    return 0
  }

  /// U+0009 to U+000D, U+0020.
  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

  /// U+0085, U+00A0.
  private static func isSpace(_ first: UInt8, _ second: UInt8) -> Bool {
    first == 0xC2 && (second == 0x85 || second == 0xA0)
  }

  /// U+1680, U+2000 to U+200A, U+2028, U+2029, U+202F, U+205F, U+3000.
  private static func isSpace(_ first: UInt8, _ second: UInt8, _ third: UInt8) -> Bool {
    switch (first, second) {
    case (0xE1, 0x9A): third == 0x80
    case (0xE2, 0x80): (0x80...0x8A).contains(third) || third == 0xA8 || third == 0xA9 || third == 0xAF
    case (0xE2, 0x81): third == 0x9F
    case (0xE3, 0x80): third == 0x80
    default: false
    }
  }
}
