/// A hash of keys and short texts for the tables of this module, different in every process.
///
/// The sum of products is the multilinear family (Lemire and Kaser, "Strongly universal string hashing is fast",
/// The Computer Journal 57(11), 2014): with 128-bit random factors, two different keys agree in all 64 bits with a
/// probability of 2^-64, whoever chose them, as long as the seeds stay secret. The multiplication at the end is a
/// bijection; it breaks up the arithmetic progressions that a linear function leaves in sequential keys.
struct SeededHash: BitwiseCopyable {
  private let addend: UInt128
  private let first: UInt128
  private let second: UInt128
  private let third: UInt128

  init() {
    addend = .random(in: .min ... .max)
    first = .random(in: .min ... .max)
    second = .random(in: .min ... .max)
    third = .random(in: .min ... .max)
  }

  /// The high bits are the best ones.
  @inline(__always)
  func hash(_ a: UInt64, _ b: UInt64) -> UInt64 {
    finish(addend &+ first &* UInt128(a) &+ second &* UInt128(b))
  }

  /// The high bits are the best ones.
  @inline(__always)
  func hash(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 {
    finish(addend &+ first &* UInt128(a) &+ second &* UInt128(b) &+ third &* UInt128(c))
  }

  /// The hash of a text, eight bytes at a time. The high bits are the best ones.
  @inline(__always)
  func hash(_ text: UnsafeRawBufferPointer) -> UInt64 {
    var state = UInt64(text.count)
    var offset = 0
    while offset &+ 8 <= text.count {
      state = hash(state, text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
      offset &+= 8
    }
    var rest: UInt64 = 0
    while offset < text.count {
      rest = rest << 8 | UInt64(text[offset])
      offset &+= 1
    }
    return hash(state, rest)
  }

  @inline(__always)
  private func finish(_ sum: UInt128) -> UInt64 {
    let high = UInt64(truncatingIfNeeded: sum >> 64)
    return (high ^ (high >> 32)) &* 0x9E37_79B9_7F4A_7C15
  }
}
