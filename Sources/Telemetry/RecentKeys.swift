/// The keys committed lately, so that most repeats are dropped before they reach the database.
///
/// Bounded: two generations, and when the newer one is full the older one is forgotten. It holds only what it was
/// given, so "contained" is certain and "not contained" means nothing. Give it a key only when the COMMIT that stored
/// it was acknowledged. Not thread-safe: it belongs to whoever owns it.
public struct RecentKeys: ~Copyable {
  /// Keys that one generation holds; between one and two generations are remembered.
  public let generationSize: Int
  private var newer = EventKeySet()
  private var older = EventKeySet()

  /// - Parameter generationSize: At least 1. A generation of 2^18 keys takes 12 MiB.
  public init(generationSize: Int = 1 << 18) {
    precondition(generationSize > 0, "a generation must hold at least one key, not \(generationSize)")
    self.generationSize = generationSize
  }

  /// How many keys are remembered; a key given twice may count twice.
  public var count: Int { newer.count + older.count }

  /// Whether the key was given and not forgotten since.
  @inline(__always)
  public func contains(_ key: EventKey) -> Bool { newer.contains(key) || older.contains(key) }

  /// Remembers a key that is stored.
  public mutating func insert(_ key: EventKey) {
    if newer.count == generationSize {
      swap(&newer, &older)
      newer.removeAll(keepingCapacity: true)
    }
    newer.insert(key)
  }

  /// Remembers every row of a batch.
  public mutating func insert(contentsOf batch: EventBatch) {
    for row in 0..<batch.count { insert(batch.key(row)) }
  }

  /// Remembers some rows of a batch: those that are stored, now or from before, and not the refused ones.
  public mutating func insert(rows: [Int], of batch: EventBatch) {
    for row in rows { insert(batch.key(row)) }
  }

  /// Forgets everything: after a lost connection, a fencing failure, a rebalance or a change of server.
  public mutating func removeAll() {
    newer.removeAll(keepingCapacity: false)
    older.removeAll(keepingCapacity: false)
  }
}
