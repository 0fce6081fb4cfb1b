/// An exact set of event keys: open addressing with linear probing.
///
/// Each slot has a tag of one byte, which nearly always tells that a key is new without looking at a key. The tags are
/// small enough to stay in the processor's cache beside the megabytes of payloads that stream through it; comparing
/// the keys themselves cost a miss of 120 ns for each event.
///
/// It hashes with a secret seed, so that nobody can craft ids that collide. Not thread-safe: it belongs to whoever
/// owns it.
public struct EventKeySet: ~Copyable {
  private var keys = ContiguousArray<EventKey>()
  /// A few bits of the hash of the key in a slot, never 0; or 0 for a free slot.
  private var tags: UnsafeMutablePointer<UInt8>
  /// The key's place in `keys`; means nothing for a free slot.
  private var numbers: UnsafeMutablePointer<Int32>
  /// A power of two, of which the keys take at most half.
  private var capacity: Int
  /// Bits to drop from a hash so that what is left is a slot.
  private var shift: UInt64
  private let seed = SeededHash()

  /// - Parameter minimumCapacity: Keys to make room for at once.
  public init(minimumCapacity: Int = 0) {
    keys.reserveCapacity(minimumCapacity)
    capacity = 32
    while capacity < minimumCapacity * 2 { capacity *= 2 }
    shift = UInt64(64 - capacity.trailingZeroBitCount)
    (tags, numbers) = Self.allocate(capacity)
  }

  deinit {
    tags.deallocate()
    numbers.deallocate()
  }

  /// How many keys it holds.
  public var count: Int { keys.count }

  /// Adds a key.
  ///
  /// - Returns: False if it was in the set already.
  @inline(__always)
  @discardableResult
  public mutating func insert(_ key: EventKey) -> Bool {
    if (keys.count + 1) * 2 > capacity { grow() }
    let hash = hash(key)
    guard let slot = freeSlot(for: key, hash) else { return false }
    tags[slot] = Self.tag(hash)
    numbers[slot] = Int32(keys.count)
    keys.append(key)
    return true
  }

  /// Whether the key is in the set.
  @inline(__always)
  public func contains(_ key: EventKey) -> Bool { freeSlot(for: key, hash(key)) == nil }

  /// Forgets every key.
  ///
  /// - Parameter keepingCapacity: Whether the memory stays, for a set that will be as large again.
  public mutating func removeAll(keepingCapacity: Bool) {
    if !keepingCapacity {
      self = EventKeySet()
    } else if !keys.isEmpty {
      keys.removeAll(keepingCapacity: true)
      tags.update(repeating: 0, count: capacity)
    }
  }

  @inline(__always)
  private func hash(_ key: EventKey) -> UInt64 {
    seed.hash(UInt64(bitPattern: key.createdAt), key.idHigh, key.idLow)
  }

  /// Bits that do not choose the slot.
  @inline(__always)
  private static func tag(_ hash: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: hash >> 16) | 1 }

  /// The slot where the key belongs; nil if the key is in the set.
  @inline(__always)
  private func freeSlot(for key: EventKey, _ hash: UInt64) -> Int? {
    let tag = Self.tag(hash)
    var slot = Int(truncatingIfNeeded: hash &>> shift)
    while tags[slot] != 0 {
      if tags[slot] == tag && keys[Int(numbers[slot])] == key { return nil }
      slot = (slot &+ 1) & (capacity &- 1)
    }
    return slot
  }

  @inline(never)
  private mutating func grow() {
    tags.deallocate()
    numbers.deallocate()
    capacity *= 2
    shift -= 1
    (tags, numbers) = Self.allocate(capacity)
    for (number, key) in keys.enumerated() {
      let hash = hash(key)
      var slot = Int(truncatingIfNeeded: hash &>> shift)
      while tags[slot] != 0 { slot = (slot &+ 1) & (capacity &- 1) }
      tags[slot] = Self.tag(hash)
      numbers[slot] = Int32(number)
    }
  }

  private static func allocate(
    _ capacity: Int
  ) -> (UnsafeMutablePointer<UInt8>, UnsafeMutablePointer<Int32>) {
    let tags = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
    tags.initialize(repeating: 0, count: capacity)
    let numbers = UnsafeMutablePointer<Int32>.allocate(capacity: capacity)
    numbers.initialize(repeating: 0, count: capacity)
    return (tags, numbers)
  }
}
