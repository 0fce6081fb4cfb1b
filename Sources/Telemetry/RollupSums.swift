/// What the events of one transaction add to the rollups, summed up batch by batch.
///
/// It takes memory for each group, and little for each event, whatever becomes of the batches. Not thread-safe.
public struct RollupSums: ~Copyable {
  private var strings = StringTable()
  private var grains = FineGrains()
  private var minutes = MinuteGroups()
  /// How many events were added.
  public private(set) var events = 0
  private var isFirst = true

  public init() {}

  /// Bytes that it takes to keep this and to make rows of it in the end, about.
  public var byteCount: Int {
    let ofGroups = grains.groups.keys.count * Self.bytesOfGroup
    let ofMinutes = minutes.count * Self.bytesOfMinute
    return ofGroups + ofMinutes + events * Self.bytesOfEvent
  }

  /// A group is kept once (some 170 bytes), sorted by each rollup (50), made a row of each (140, two or three times), and
  /// looked for by its key (40, twice).
  private static let bytesOfGroup = 600
  /// A minute is kept (60 bytes), sorted (20), and made an element of three arrays (18).
  private static let bytesOfMinute = 100
  /// A duration is kept as a number and sorted.
  private static let bytesOfEvent = 24

  /// Adds the events of one batch, which must be as it was when they were grouped.
  public mutating func add(_ added: consuming BatchGrains, of batch: EventBatch) {
    let texts = TextNumbers(of: batch.strings, in: &strings)
    if isFirst {
      // The first batch's numbers are these already.
      isFirst = false
      grains = added.grains
      minutes = added.minutes
    } else {
      grains.merge(added.grains, texts)
      minutes.merge(added.minutes, texts)
    }
    events += added.events
  }

  /// Everything that was added.
  public consuming func finish() -> RollupDeltas {
    RollupDeltas(grains, minutes, strings, events: events)
  }
}

/// Events of one batch, grouped as fine as any rollup needs. Domains and models are numbers of the batch's
/// ``StringTable``.
public struct BatchGrains: ~Copyable, Sendable {
  var grains = FineGrains()
  var minutes = MinuteGroups()
  let events: Int

  /// The most rows that one call takes; a batch is bounded far below.
  public static let maxRows = 1 << 25

  /// - Parameters:
  ///   - rows: The indices of the rows that are new, each once.
  ///   - windowFloorMicros: Events before this time are too old for the trailing windows; start of a minute.
  public init(batch: EventBatch, rows: [Int], windowFloorMicros: Int64) {
    precondition(rows.count <= Self.maxRows, "\(rows.count) rows in a batch; at most \(Self.maxRows)")
    var grains = FineGrains()
    var minutes = MinuteGroups()
    var isNew = ContiguousArray(repeating: false, count: batch.count)
    for row in rows { isNew[row] = true }
    // In the order in which they came, whatever the order of `rows`: memory is read straight on.
    batch.events.withUnsafeBufferPointer { events in
      for row in events.indices where isNew[row] {
        grains.add(events[row])
        if events[row].key.createdAt >= windowFloorMicros { minutes.add(events[row]) }
      }
    }
    self.grains = grains
    self.minutes = minutes
    events = rows.count
  }
}

/// The numbers that one table's texts have in another one.
struct TextNumbers {
  private let numbers: ContiguousArray<Int32>

  /// Adds the texts that `other` lacks; in their order, so that an empty one numbers them alike.
  init(of table: borrowing StringTable, in other: inout StringTable) {
    var numbers = ContiguousArray<Int32>()
    numbers.reserveCapacity(table.count)
    for id in 0..<Int32(table.count) { numbers.append(other.intern(table.bytes(id))) }
    self.numbers = numbers
  }

  @inline(__always)
  subscript(id: Int32) -> Int32 { id == StringTable.null ? id : numbers[Int(id)] }
}
