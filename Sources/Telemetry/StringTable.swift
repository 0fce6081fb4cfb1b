/// The distinct texts of a batch or a transaction (domains and models), each known by a small number.
///
/// Bytes are compared as they are: no Unicode normalisation, as in a PostgreSQL key of a deterministic collation. Not
/// thread-safe.
public struct StringTable: ~Copyable {
  /// Stands for no text at all, as in the domain of an event that has none.
  public static let null: Int32 = -1
  /// The empty text, which is every blank model.
  public static let blank: Int32 = 0
  /// The word `unknown`.
  public static let unknown: Int32 = 1

  private struct Entry: BitwiseCopyable {
    var hash: Int
    var text: ByteRange
  }

  private var bytes = ByteArena()
  private var entries = ContiguousArray<Entry>()
  /// Numbers of entries, or -1; a power of two of them.
  private var slots = ContiguousArray<Int32>(repeating: -1, count: 64)
  private let seed = SeededHash()

  init() { addFixed() }

  /// How many texts it holds. The numbers are 0 ..< count.
  public var count: Int { entries.count }

  /// The UTF-8 bytes of a text; empty for ``null``. Valid until the batch changes.
  public func bytes(_ id: Int32) -> UnsafeRawBufferPointer {
    if id == Self.null { return UnsafeRawBufferPointer(start: nil, count: 0) }
    let text = entries[Int(id)].text
    return bytes.slice(text.offset, text.count)
  }

  /// The bytes of all texts, one after the other. Valid until the batch changes.
  var allBytes: UnsafeRawBufferPointer { bytes.bytes }

  /// Where each text stands in ``allBytes``, by its number.
  var places: ContiguousArray<ByteRange> { ContiguousArray(entries.lazy.map(\.text)) }

  /// The text; nil for ``null``.
  public func string(_ id: Int32) -> String? {
    id == Self.null ? nil : String(decoding: bytes(id), as: UTF8.self)
  }

  /// The number of a text, which is copied if it is new.
  @inline(__always)
  mutating func intern(_ text: UnsafeRawBufferPointer) -> Int32 {
    if text.isEmpty { return Self.blank }
    let hash = Int(truncatingIfNeeded: seed.hash(text) &>> 32)
    let mask = slots.count &- 1
    var slot = hash & mask
    while slots[slot] >= 0 {
      let id = slots[slot]
      let entry = entries[Int(id)]
      if entry.hash == hash && Self.equal(bytes.slice(entry.text.offset, entry.text.count), text) {
        return id
      }
      slot = (slot &+ 1) & mask
    }
    return add(text, hash: hash, slot: slot)
  }

  /// Forgets every text but the fixed ones; keeps the memory.
  mutating func removeAll() {
    bytes.truncate(to: 0)
    entries.removeAll(keepingCapacity: true)
    for slot in slots.indices { slots[slot] = -1 }
    addFixed()
  }

  /// The place of each text in the order of its bytes, by number.
  func ranks() -> ContiguousArray<Int32> {
    let order = (0..<Int32(count)).sorted { Self.precedes(bytes($0), bytes($1)) }
    var ranks = ContiguousArray<Int32>(repeating: 0, count: order.count)
    for (rank, id) in order.enumerated() { ranks[Int(id)] = Int32(rank) }
    return ranks
  }

  private mutating func addFixed() {
    // The empty text is found without the table.
    entries.append(Entry(hash: 0, text: ByteRange(offset: 0, count: 0)))
    let unknown: StaticString = "unknown"
    let id = intern(UnsafeRawBufferPointer(start: unknown.utf8Start, count: unknown.utf8CodeUnitCount))
    assert(id == Self.unknown)
  }

  @inline(never)
  private mutating func add(_ text: UnsafeRawBufferPointer, hash: Int, slot: Int) -> Int32 {
    let id = Int32(entries.count)
    entries.append(Entry(hash: hash, text: ByteRange(offset: bytes.count, count: text.count)))
    bytes.append(text)
    slots[slot] = id
    if entries.count * 2 > slots.count { grow() }
    return id
  }

  private mutating func grow() {
    let mask = slots.count * 2 - 1
    slots = ContiguousArray(repeating: -1, count: mask + 1)
    for id in 1..<entries.count {
      var slot = entries[id].hash & mask
      while slots[slot] >= 0 { slot = (slot + 1) & mask }
      slots[slot] = Int32(id)
    }
  }

  @inline(__always)
  private static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    let count = left.count
    if count != right.count { return false }
    var offset = 0
    while offset &+ 8 <= count {
      let a = left.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      if a != right.loadUnaligned(fromByteOffset: offset, as: UInt64.self) { return false }
      offset &+= 8
    }
    while offset < count {
      if left[offset] != right[offset] { return false }
      offset &+= 1
    }
    return true
  }

  private static func precedes(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    let shared = min(left.count, right.count)
    var offset = 0
    while offset < shared {
      if left[offset] != right[offset] { return left[offset] < right[offset] }
      offset &+= 1
    }
    return left.count < right.count
  }
}
