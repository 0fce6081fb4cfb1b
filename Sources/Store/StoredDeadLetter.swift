import Foundation
import Postgres

/// What a list shows of a dead letter. Times are RFC 3339 in UTC.
public struct DeadLetterSummary: Encodable, Sendable {
  public var id: Int64
  public var topic: String
  public var partition: Int32
  public var offset: Int64
  /// Kafka's time of the record; nil where it had none.
  public var recordTimestamp: String?
  /// Length of the payload as it came, also where it was not kept.
  public var payloadBytes: Int64
  /// The raw value of a `RejectionReason`, or one that a newer version knows.
  public var reason: String
  public var detail: String
  /// The event's UTC day, where the reason is `before_retention`.
  public var eventDay: String?
  public var receivedAt: String
  public var resolvedAt: String?
  /// `retried` or `discarded`, once it is resolved.
  public var resolution: String?

  static let columns = """
    id, topic, partition, record_offset, \(time("record_timestamp")), payload_bytes, reason, detail,
    to_char(event_day, 'YYYY-MM-DD'), \(time("received_at")), \(time("resolved_at")), resolution
    """
  static let columnCount = 12

  private static func time(_ column: String) -> String {
    "to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
  }

  init(_ row: QueryResult.Row) {
    id = row.int(0)
    topic = row.text(1)
    partition = Int32(row.int(2))
    offset = row.int(3)
    recordTimestamp = row[4]
    payloadBytes = row.int(5)
    reason = row.text(6)
    detail = row.text(7)
    eventDay = row[8]
    receivedAt = row.text(9)
    resolvedAt = row[10]
    resolution = row[11]
  }
}

/// A dead letter with the record's bytes.
///
/// Encoded, the members of ``summary`` are joined by `headers`, and by `key` and `payload` as text, or in Base64
/// (RFC 4648) as `keyBase64` and `payloadBase64` where they are no UTF-8. A key or payload that is not there is left out.
public struct StoredDeadLetter: Encodable, Sendable {
  /// A header of the record; a name or value that is no text is in the member with Base64.
  public struct Header: Codable, Equatable, Sendable {
    public var key: String?
    public var keyBase64: String?
    public var value: String?
    public var valueBase64: String?

    private enum CodingKeys: String, CodingKey {
      case key, value
      case keyBase64 = "key_base64"
      case valueBase64 = "value_base64"
    }
  }

  public var summary: DeadLetterSummary
  public var headers: [Header]?
  public var key: [UInt8]?
  /// Nil where it was not kept.
  public var payload: [UInt8]?

  // As hexadecimal digits, whatever bytea_output is set to.
  static let columns =
    DeadLetterSummary.columns + ", headers::text, encode(key, 'hex'), encode(payload, 'hex')"

  init(_ row: QueryResult.Row) throws {
    summary = DeadLetterSummary(row)
    let next = DeadLetterSummary.columnCount
    headers = try row[next].map { try JSONDecoder().decode([Header].self, from: Data($0.utf8)) }
    key = row[next + 1].map { Self.bytes(hex: $0) }
    payload = row[next + 2].map { Self.bytes(hex: $0) }
  }

  private enum CodingKeys: String, CodingKey { case headers, key, keyBase64, payload, payloadBase64 }

  public func encode(to encoder: any Encoder) throws {
    try summary.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encodeIfPresent(headers, forKey: .headers)
    try encode(key, .key, .keyBase64, to: &container)
    try encode(payload, .payload, .payloadBase64, to: &container)
  }

  private func encode(
    _ bytes: [UInt8]?, _ text: CodingKeys, _ base64: CodingKeys,
    to container: inout KeyedEncodingContainer<CodingKeys>
  ) throws {
    guard let bytes else { return }
    if let string = String(validating: bytes, as: UTF8.self) {
      try container.encode(string, forKey: text)
    } else {
      try container.encode(Data(bytes).base64EncodedString(), forKey: base64)
    }
  }

  /// The bytes that pairs of hexadecimal digits stand for, as `encode(…, 'hex')` writes them.
  static func bytes(hex: String) -> [UInt8] {
    func digit(_ character: UInt8) -> UInt8 { character < 0x3A ? character - 0x30 : character - 0x57 }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(hex.utf8.count / 2)
    var high: UInt8?
    for character in hex.utf8 {
      if let first = high {
        bytes.append(first << 4 | digit(character))
        high = nil
      } else {
        high = digit(character)
      }
    }
    return bytes
  }
}
