/// Appending text to bytes without a String in between.
extension [UInt8] {
  @inline(__always)
  mutating func append(_ text: StaticString) {
    append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// A number that is not negative, with zeros before it up to `width`.
  @inline(__always)
  mutating func appendDigits(_ number: Int64, width: Int = 1) {
    precondition(number >= 0, "only numbers that are not negative")
    // 2^63 has 19 digits.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
      var position = 20
      var rest = UInt64(number)
      while rest > 0 || position > 20 - width {
        position -= 1
        digits[position] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
        rest /= 10
      }
      append(contentsOf: UnsafeBufferPointer(rebasing: UnsafeBufferPointer(digits)[position..<20]))
    }
  }
}
