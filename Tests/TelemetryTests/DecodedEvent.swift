import Telemetry
import Testing

/// An event as the decoder gave it, its row taken apart again.
struct DecodedEvent {
  /// The present in every test: 2026-06-15T12:00:00Z in microseconds since 1970.
  static let nowMicros: Int64 = 1_781_524_800_000_000
  static let coordinates = RecordCoordinates(topic: "chat-telemetry", partition: 3, offset: 42)

  var facts: EventFacts
  var repairs: RepairCounts
  var domain: String?
  var model: String
  private var fields: [[UInt8]?]

  /// What an event needs, and `more` members; of two with one name the last counts.
  static func json(_ more: String = "") -> String {
    let required = #""session_id":"s","model":"m","created_at":"2026-06-15T12:00:00Z""#
    return "{\(required)\(more.isEmpty ? "" : ",")\(more)}"
  }

  /// Decodes the event with `more` members.
  init(_ more: String = "", rules: DecodingRules = DecodingRules()) throws(Rejection) {
    try self.init(value: Array(Self.json(more).utf8), rules: rules)
  }

  init(
    value: [UInt8], rules: DecodingRules = DecodingRules(), at record: RecordCoordinates = coordinates
  ) throws(Rejection) {
    var decoder = EventDecoder(rules: rules)
    // A row before it: ranges must be those of the arena, and a rejection must leave it alone.
    var rows = ByteArena(capacity: 64)
    for byte: UInt8 in 1...11 { rows.append(byte: byte) }
    var counts = RepairCounts()
    let result = value.withUnsafeBytes { bytes in
      Result { () throws(Rejection) in
        try decoder.decode(bytes, at: record, nowMicros: Self.nowMicros, into: &rows, repairs: &counts)
      }
    }
    #expect(rows.slice(0, 11).elementsEqual(1...11))
    guard case .success(let facts) = result else {
      #expect(rows.count == 11)
      #expect(counts == RepairCounts())
      throw try Self.rejection(result)
    }
    self.facts = facts
    repairs = counts
    domain = facts.domain.map { String(decoding: rows.slice($0.offset, $0.count), as: UTF8.self) }
    model = String(decoding: rows.slice(facts.model.offset, facts.model.count), as: UTF8.self)
    fields = Self.fields(Array(rows.slice(11, rows.count - 11)))
  }

  private static func rejection(_ result: Result<EventFacts, Rejection>) throws(Rejection) -> Rejection {
    do throws(Rejection) {
      _ = try result.get()
      preconditionFailure("no rejection")
    } catch { return error }
  }

  /// The fields of one row in COPY BINARY format.
  private static func fields(_ row: [UInt8]) -> [[UInt8]?] {
    var at = 0
    func number(_ size: Int) -> Int64 {
      defer { at += size }
      let raw = row[at..<at + size].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return Int64(bitPattern: raw << UInt64(64 - 8 * size)) >> Int64(64 - 8 * size)
    }
    let count = number(2)
    #expect(count == Int64(RawColumn.allCases.count))
    var fields: [[UInt8]?] = []
    for _ in 0..<count {
      let length = Int(number(4))
      fields.append(length < 0 ? nil : Array(row[at..<at + length]))
      at += max(length, 0)
    }
    #expect(at == row.count)
    return fields
  }

  /// A column's value in the binary format of its type.
  func bytes(_ column: RawColumn) -> [UInt8]? { fields[column.rawValue] }

  func text(_ column: RawColumn) -> String? { bytes(column).map { String(decoding: $0, as: UTF8.self) } }

  /// The text of a jsonb column.
  func json(_ column: RawColumn) -> String? {
    guard let bytes = bytes(column) else { return nil }
    #expect(bytes.first == 1, "the version of jsonb's binary format")
    return String(decoding: bytes.dropFirst(), as: UTF8.self)
  }

  /// An integer, boolean or timestamptz column.
  func integer(_ column: RawColumn) -> Int64? {
    bytes(column).map { bytes in
      let raw = bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return bytes.count == 8 ? Int64(bitPattern: raw) : Int64(Int32(truncatingIfNeeded: raw))
    }
  }

  /// The id as RFC 9562 writes it.
  var id: String? {
    bytes(.id).map { bytes in
      let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      return [hex[0..<4], hex[4..<6], hex[6..<8], hex[8..<10], hex[10..<16]].map { $0.joined() }.joined(
        separator: "-")
    }
  }
}

/// Why the event with `more` members is refused; nil if it is not.
func rejection(_ more: String, rules: DecodingRules = DecodingRules()) -> Rejection? {
  rejection(value: Array(DecodedEvent.json(more).utf8), rules: rules)
}

func rejection(value: [UInt8], rules: DecodingRules = DecodingRules()) -> Rejection? {
  do throws(Rejection) {
    _ = try DecodedEvent(value: value, rules: rules)
    return nil
  } catch { return error }
}
