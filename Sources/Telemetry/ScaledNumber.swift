/// A JSON number times a power of ten, cut to an integer: read from its digits, never through binary floating
/// point.
///
/// The time it takes grows with the digits written, not with the exponent.
struct ScaledNumber {
  /// The whole part of the product's magnitude; 0 when it is too large.
  private(set) var magnitude: UInt64 = 0
  private(set) var isNegative = false
  /// Whether nothing was cut off.
  private(set) var isExact = true
  /// Whether what was cut off is a half or more.
  private(set) var leavesHalf = false
  /// Whether the magnitude has more than 18 digits.
  private(set) var isTooLarge = false

  /// `token` is a number by the grammar of RFC 8259.
  init(_ token: UnsafeRawBufferPointer, timesTenTo scale: Int = 0) {
    if scale == 0, let plain = Self.plain(token) {
      magnitude = plain
      return
    }
    let digits = NumberToken(token)
    isNegative = digits.isNegative
    // The digits before `cut` make the whole part; it may lie before the first digit or beyond the last.
    let cut = digits.wholeCount + digits.exponent + scale
    var first = 0
    while first < digits.count && digits[first] == 0 { first += 1 }
    if first == digits.count { return }

    var next = max(cut, first)
    leavesHalf = cut >= first && next < digits.count && digits[next] >= 5
    while next < digits.count && digits[next] == 0 { next += 1 }
    isExact = next >= digits.count
    if cut - first > 18 {
      isTooLarge = true
      return
    }
    var index = first
    while index < cut {
      magnitude = magnitude * 10 + (index < digits.count ? UInt64(digits[index]) : 0)
      index += 1
    }
  }

  /// The value of up to 18 digits with nothing else about them, which is what most numbers of an event are.
  @inline(__always)
  private static func plain(_ token: UnsafeRawBufferPointer) -> UInt64? {
    guard token.count <= 18 else { return nil }
    var value: UInt64 = 0
    for byte in token {
      let digit = byte &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      value = value &* 10 &+ UInt64(digit)
    }
    return value
  }

  /// The number itself; nil if it is too large or has a fraction.
  var exactly: Int64? { isTooLarge || !isExact ? nil : signed(magnitude) }

  /// Rounded half up: a half goes away from zero, whatever the sign. Nil if it is too large.
  var rounded: Int64? { isTooLarge ? nil : signed(magnitude + (leavesHalf ? 1 : 0)) }

  private func signed(_ magnitude: UInt64) -> Int64 {
    isNegative ? -Int64(magnitude) : Int64(magnitude)
  }
}

/// The parts of a JSON number: its digits as if there were no point, and where the point stands.
private struct NumberToken {
  let isNegative: Bool
  /// How many digits stand before the point.
  let wholeCount: Int
  /// How many digits there are.
  let count: Int
  /// Held within ±2^40: beyond the length of any token that is as good as infinite.
  let exponent: Int
  private let start: UnsafePointer<UInt8>

  init(_ token: UnsafeRawBufferPointer) {
    let bytes = token.assumingMemoryBound(to: UInt8.self)
    isNegative = bytes[0] == UInt8(ascii: "-")
    let first = isNegative ? 1 : 0
    var at = Self.skipDigits(bytes, from: first)
    wholeCount = at - first
    var fractionCount = 0
    if at < bytes.count && bytes[at] == UInt8(ascii: ".") {
      fractionCount = Self.skipDigits(bytes, from: at + 1) - at - 1
      at += 1 + fractionCount
    }
    count = wholeCount + fractionCount
    exponent = at < bytes.count ? Self.exponent(bytes, from: at + 1) : 0
    start = bytes.baseAddress.unsafelyUnwrapped + first
  }

  /// The digit at `index`, counted over the point.
  @inline(__always)
  subscript(index: Int) -> UInt8 {
    start[index < wholeCount ? index : index + 1] - UInt8(ascii: "0")
  }

  @inline(__always)
  private static func skipDigits(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var at = start
    while at < bytes.count && bytes[at] &- UInt8(ascii: "0") < 10 { at += 1 }
    return at
  }

  private static func exponent(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    var at = start
    let isNegative = bytes[at] == UInt8(ascii: "-")
    if isNegative || bytes[at] == UInt8(ascii: "+") { at += 1 }
    var value = 0
    while at < bytes.count {
      value = min(value * 10 + Int(bytes[at] - UInt8(ascii: "0")), 1 << 40)
      at += 1
    }
    return isNegative ? -value : value
  }
}
