/// Where an event came from, and its record's bytes in the batch's `sources` arena, so that a row that the database
/// refuses can still become a dead letter. A batch that keeps no sources has no such bytes.
public struct SourceRecord: Sendable, BitwiseCopyable {
  /// Which of the batch's partitions; see ``EventBatch/partitionIndex(topic:partition:)``.
  public var partitionIndex: Int32
  public var offset: Int64
  /// The record's timestamp, milliseconds since 1970; -1 is none.
  public var timestampMs: Int64
  /// Nil for a record without a key.
  public var key: ByteRange?
  public var payload: ByteRange
  /// Packed by ``RecordHeaders``; nil for a record without headers.
  public var headers: ByteRange?

  public init(
    partitionIndex: Int32, offset: Int64, timestampMs: Int64, key: ByteRange?, payload: ByteRange,
    headers: ByteRange?
  ) {
    self.partitionIndex = partitionIndex
    self.offset = offset
    self.timestampMs = timestampMs
    self.key = key
    self.payload = payload
    self.headers = headers
  }

  /// The same record once its bytes are gone from the arena.
  @inline(__always)
  var withoutBytes: SourceRecord {
    SourceRecord(
      partitionIndex: partitionIndex, offset: offset, timestampMs: timestampMs, key: nil,
      payload: ByteRange(offset: start, count: 0), headers: nil)
  }

  /// Where the record's bytes begin in the arena.
  @inline(__always)
  var start: Int {
    var first = payload.offset
    if let key, key.offset < first { first = key.offset }
    if let headers, headers.offset < first { first = headers.offset }
    return first
  }
}
