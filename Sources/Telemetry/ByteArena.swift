/// A growable region of bytes that is filled from the front and emptied whole.
///
/// The hot path appends to it without a bounds-checked array in between. Offsets stay valid while it grows;
/// pointers do not. Not thread-safe: it belongs to whoever owns it.
///
/// Inlinable, for other modules append numbers to it one by one: that would else be generic code that asks the runtime
/// about its types at each number.
public struct ByteArena: ~Copyable {
  @usableFromInline private(set) var base: UnsafeMutableRawPointer
  @usableFromInline var used = 0
  @usableFromInline private(set) var capacity: Int

  /// Bytes in use.
  @inlinable
  public var count: Int { used }

  public init(capacity: Int = 4096) {
    self.capacity = max(capacity, 64)
    base = .allocate(byteCount: self.capacity, alignment: 16)
  }

  deinit { base.deallocate() }

  /// Everything in use. Valid until the next append or reserve.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// Bytes `offset ..< offset + length`. Valid until the next append or reserve.
  @inlinable
  @inline(__always)
  public func slice(_ offset: Int, _ length: Int) -> UnsafeRawBufferPointer {
    assert(offset >= 0 && length >= 0 && offset + length <= count)
    return UnsafeRawBufferPointer(start: base + offset, count: length)
  }

  /// Makes room for `extra` more bytes, so that the appends that follow do not move the region.
  @inlinable
  @inline(__always)
  public mutating func reserve(_ extra: Int) {
    if count + extra > capacity { grow(count + extra) }
  }

  @inline(never)
  @usableFromInline
  mutating func grow(_ needed: Int) {
    let larger = max(needed, capacity * 2)
    let moved = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    moved.copyMemory(from: base, byteCount: count)
    base.deallocate()
    base = moved
    capacity = larger
  }

  @inlinable
  @inline(__always)
  public mutating func append(_ source: UnsafeRawBufferPointer) {
    reserve(source.count)
    if let start = source.baseAddress {
      (base + count).copyMemory(from: start, byteCount: source.count)
      used += source.count
    }
  }

  /// Appends an integer in network byte order, as PostgreSQL's binary formats want it.
  @inlinable
  @inline(__always)
  public mutating func appendBigEndian<Value: FixedWidthInteger>(_ value: Value) {
    let size = MemoryLayout<Value>.size
    reserve(size)
    (base + count).storeBytes(of: value.bigEndian, as: Value.self)
    used += size
  }

  @inlinable
  @inline(__always)
  public mutating func append(byte: UInt8) {
    reserve(1)
    (base + count).storeBytes(of: byte, as: UInt8.self)
    used += 1
  }

  /// Overwrites an integer appended before, in network byte order.
  @inlinable
  @inline(__always)
  public mutating func patchBigEndian<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
    assert(offset + MemoryLayout<Value>.size <= count)
    (base + offset).storeBytes(of: value.bigEndian, as: Value.self)
  }

  /// Forgets everything from `length` on; keeps the memory.
  @inlinable
  @inline(__always)
  public mutating func truncate(to length: Int) {
    assert(length >= 0 && length <= count)
    used = length
  }
}
