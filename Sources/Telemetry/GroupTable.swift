/// What a rollup row is known by: a stretch of time and the numbers of two texts in the batch's ``StringTable``.
struct GroupKey: BitwiseCopyable {
  /// An hour's start, a day or a minute, as the rollup has it.
  let bucket: Int64
  let domain: Int32
  let model: Int32

  /// One branch for all three: which of them differs is hard to predict.
  @inline(__always)
  func equals(_ other: GroupKey) -> Bool {
    (bucket ^ other.bucket) | Int64((domain ^ other.domain) | (model ^ other.model)) == 0
  }
}

/// Numbers group keys in the order in which they first come: 0, 1, 2, ...
///
/// The caller keeps what belongs to a group in arrays of its own, by that number.
///
/// `@unchecked Sendable`: the memory that the pointer stands for is this value's own, and a value is only ever moved.
struct GroupTable: ~Copyable, @unchecked Sendable {
  private(set) var keys = ContiguousArray<GroupKey>()
  /// Numbers of keys, or -1; a power of two of them, at most a quarter of them taken.
  private var slots: UnsafeMutablePointer<Int32>
  private var capacity = 4096
  private var shift: UInt64 = 52
  private let seed = SeededHash()

  init() {
    slots = .allocate(capacity: capacity)
    slots.initialize(repeating: -1, count: capacity)
  }

  deinit { slots.deallocate() }

  /// The number of a key; the next free one if the key is new.
  @inline(__always)
  mutating func number(of key: GroupKey) -> Int {
    var slot = self.slot(of: key)
    let mask = capacity &- 1
    while slots[slot] >= 0 {
      let number = Int(slots[slot])
      if keys[number].equals(key) { return number }
      slot = (slot &+ 1) & mask
    }
    return add(key, slot)
  }

  @inline(__always)
  private func slot(of key: GroupKey) -> Int {
    let texts = UInt64(UInt32(bitPattern: key.domain)) << 32 | UInt64(UInt32(bitPattern: key.model))
    return Int(truncatingIfNeeded: seed.hash(UInt64(bitPattern: key.bucket), texts) &>> shift)
  }

  @inline(never)
  private mutating func add(_ key: GroupKey, _ slot: Int) -> Int {
    let number = keys.count
    keys.append(key)
    slots[slot] = Int32(number)
    if keys.count * 4 > capacity { grow() }
    return number
  }

  private mutating func grow() {
    slots.deallocate()
    capacity *= 2
    shift -= 1
    slots = .allocate(capacity: capacity)
    slots.initialize(repeating: -1, count: capacity)
    for (number, key) in keys.enumerated() {
      var slot = self.slot(of: key)
      while slots[slot] >= 0 { slot = (slot + 1) & (capacity - 1) }
      slots[slot] = Int32(number)
    }
  }
}

/// Measures by group.
struct MeasureGroups: ~Copyable, Sendable {
  private var table = GroupTable()
  private(set) var measures = ContiguousArray<Measures>()

  var keys: ContiguousArray<GroupKey> { table.keys }

  /// Adds one event to its group.
  ///
  /// - Returns: The group's number.
  @inline(__always)
  mutating func add(_ facts: EventFacts, to key: GroupKey) -> Int {
    let number = table.number(of: key)
    if number == measures.count {
      measures.append(Measures(facts))
    } else {
      measures[number].add(facts)
    }
    return number
  }

  /// Adds the measures of a finer group to a coarser one.
  ///
  /// - Returns: The coarser group's number.
  @discardableResult
  mutating func merge(_ finer: Measures, into key: GroupKey) -> Int {
    let number = table.number(of: key)
    if number == measures.count {
      measures.append(finer)
    } else {
      measures[number].merge(finer)
    }
    return number
  }
}

/// The one order in which every process sends rollup rows, so that upserts of two of them never wait for each other in
/// a circle: bucket, then domain by its bytes with null first, then model likewise.
struct GroupOrder {
  private let ranks: ContiguousArray<Int32>

  init(_ strings: borrowing StringTable) { ranks = strings.ranks() }

  /// The numbers of the keys, in order.
  func sorted(_ keys: ContiguousArray<GroupKey>) -> ContiguousArray<Int> {
    struct Place: BitwiseCopyable {
      var bucket: Int64
      var texts: UInt64
      var number: Int
    }
    var places = ContiguousArray<Place>()
    places.reserveCapacity(keys.count)
    for (number, key) in keys.enumerated() {
      places.append(
        Place(bucket: key.bucket, texts: rank(key.domain) << 32 | rank(key.model), number: number))
    }
    places.sort { $0.bucket == $1.bucket ? $0.texts < $1.texts : $0.bucket < $1.bucket }
    return ContiguousArray(places.lazy.map(\.number))
  }

  /// Whether a text comes before another one.
  func precedes(_ text: Int32, _ other: Int32) -> Bool { rank(text) < rank(other) }

  private func rank(_ text: Int32) -> UInt64 {
    text == StringTable.null ? 0 : UInt64(ranks[Int(text)]) + 1
  }
}
