/// What makes an event itself: the uniqueness of the raw table, (`created_at`, `id`).
public struct EventKey: Hashable, Comparable, Sendable, BitwiseCopyable {
  /// Event time in microseconds since 1970-01-01T00:00:00Z.
  public var createdAt: Int64
  /// The first 8 bytes of the UUID, as a big-endian number.
  public var idHigh: UInt64
  /// The last 8 bytes of the UUID, as a big-endian number.
  public var idLow: UInt64

  @inline(__always)
  public init(createdAt: Int64, idHigh: UInt64, idLow: UInt64) {
    self.createdAt = createdAt
    self.idHigh = idHigh
    self.idLow = idLow
  }

  /// The order of the raw table's primary key: PostgreSQL compares a UUID byte by byte.
  @inline(__always)
  public static func < (left: EventKey, right: EventKey) -> Bool {
    if left.createdAt != right.createdAt { return left.createdAt < right.createdAt }
    if left.idHigh != right.idHigh { return left.idHigh < right.idHigh }
    return left.idLow < right.idLow
  }
}
