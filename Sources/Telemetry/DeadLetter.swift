/// A record that cannot be stored as an event, with all that is needed to look into it and to try it again.
public struct DeadLetter: Equatable, Sendable {
  public var topic: String
  public var partition: Int32
  public var offset: Int64
  /// The record's timestamp, milliseconds since 1970.
  public var timestampMs: Int64?
  public var key: [UInt8]?
  /// The record's value; nil where it is not kept.
  public var payload: [UInt8]?
  /// Length of the value in bytes, also where it is not kept.
  public var payloadCount: Int
  /// The record's headers as JSON text; see ``RecordHeaders/json(_:)``.
  public var headersJSON: String?
  public var reason: RejectionReason
  /// What was wrong, for a person. Without U+0000.
  public var detail: String
  /// The event's day, days since 1970-01-01, where the reason is `before_retention`.
  public var eventDay: Int32?

  public init(
    topic: String, partition: Int32, offset: Int64, timestampMs: Int64?, key: [UInt8]?, payload: [UInt8]?,
    payloadCount: Int, headersJSON: String?, reason: RejectionReason, detail: String, eventDay: Int32?
  ) {
    self.topic = topic
    self.partition = partition
    self.offset = offset
    self.timestampMs = timestampMs
    self.key = key
    self.payload = payload
    self.payloadCount = payloadCount
    self.headersJSON = headersJSON
    self.reason = reason
    self.detail = detail
    self.eventDay = eventDay
  }

  /// About what it takes in memory, for the bound on a batch.
  var byteCount: Int {
    MemoryLayout<Self>.stride + (key?.count ?? 0) + (payload?.count ?? 0)
      + (headersJSON?.utf8.count ?? 0) + detail.utf8.count
  }
}
