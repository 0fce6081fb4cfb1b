/// What the rollups need to know of one decoded event. The rest of it is only in the encoded row.
public struct EventFacts: Sendable, BitwiseCopyable {
  public var key: EventKey
  /// Milliseconds, 0 to 2^31-1, or nil.
  public var durationMs: Int64?
  /// Micro-dollars, 0 to 999,999,999,999, or nil.
  public var costMicros: Int64?
  /// 0 when absent, as in every sum.
  public var inputTokens: Int64 = 0
  public var outputTokens: Int64 = 0
  public var searches: Int64 = 0
  public var iterations: Int64 = 0
  public var success = true
  /// Where the trimmed domain's UTF-8 bytes stand in the arena that holds the encoded row; nil is no domain.
  public var domain: ByteRange?
  /// Where the model's UTF-8 bytes stand, as given; an empty range stands for every blank model.
  public var model = ByteRange(offset: 0, count: 0)

  public init(key: EventKey) { self.key = key }
}

/// A stretch of a `ByteArena`, which is far below 4 GiB: a batch holds several for each event.
public struct ByteRange: Hashable, Sendable, BitwiseCopyable {
  private let start: UInt32
  private let length: UInt32

  @inline(__always)
  public init(offset: Int, count: Int) {
    start = UInt32(offset)
    length = UInt32(count)
  }

  @inline(__always)
  public var offset: Int { Int(start) }

  @inline(__always)
  public var count: Int { Int(length) }
}
