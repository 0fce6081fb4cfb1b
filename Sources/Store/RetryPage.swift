import Postgres
import Telemetry

/// What stands in for fields that an event lacks, or that are null in it.
public struct FieldDefaults: Sendable {
  public var domain: String?
  public var model: String?

  public init(domain: String? = nil, model: String? = nil) {
    self.domain = domain
    self.model = model
  }
}

/// A dead letter that nobody has resolved.
struct WaitingLetter {
  var id: Int64
  var coordinates: RecordCoordinates
  var timestampMs: Int64
  /// Nil where it was not kept.
  var payload: [UInt8]?

  static let columns = """
    id, topic, partition, record_offset, (extract(epoch FROM record_timestamp) * 1000)::bigint, encode(payload, 'hex')
    """

  init(_ row: QueryResult.Row) {
    id = row.int(0)
    coordinates = RecordCoordinates(topic: row.text(1), partition: Int32(row.int(2)), offset: row.int(3))
    timestampMs = row.intOrNil(4) ?? -1
    payload = row[5].map { StoredDeadLetter.bytes(hex: $0) }
  }
}

/// Dead letters that are tried again in one transaction, decoded.
struct RetryPage {
  let defaults: FieldDefaults
  let nowMicros: Int64
  let batch = EventBatch()
  private(set) var letters: [WaitingLetter] = []
  /// What is known of a letter without the database.
  private(set) var judged: [Int: RetryOutcome] = [:]
  /// The batch's row of each letter that was decoded; two letters of one event have the same.
  private(set) var rows: [Int: Int] = [:]
  private var rowOfKey: [EventKey: Int] = [:]

  /// Days that a transaction touches at most, each of them a partition to lock.
  static let maxDays = 64

  init(defaults: FieldDefaults, nowMicros: Int64) {
    self.defaults = defaults
    self.nowMicros = nowMicros
  }

  /// Decodes a letter into the page; false, and the page is as it was, when it has no room for the event's day.
  mutating func take(_ letter: WaitingLetter, _ decoder: inout EventDecoder) -> Bool {
    let place = letters.count
    guard let payload = letter.payload else {
      letters.append(letter)
      judged[place] = .noPayload
      return true
    }
    let rowStart = batch.rows.count
    switch decode(payload, letter.coordinates, &decoder) {
    case .failure(let rejection):
      judged[place] = .failed(rejection.reason, detail: rejection.detail)
    case .success(let facts):
      if batch.wouldExceed(maxDays: Self.maxDays, for: facts.key.createdAt) {
        batch.rows.truncate(to: rowStart)
        return false
      }
      rows[place] = add(facts, rowStart, letter)
    }
    letters.append(letter)
    return true
  }

  /// The row of the event, which another letter of the page may have brought.
  private mutating func add(_ facts: EventFacts, _ rowStart: Int, _ letter: WaitingLetter) -> Int {
    let at = letter.coordinates
    let none = UnsafeRawBufferPointer(start: nil, count: 0)
    let source = batch.retain(
      partitionIndex: batch.partitionIndex(topic: at.topic, partition: at.partition), offset: at.offset,
      timestampMs: letter.timestampMs, key: nil, payload: none, headers: nil)
    if batch.add(facts, rowStart: rowStart, source: source) { rowOfKey[facts.key] = batch.count - 1 }
    return rowOfKey[facts.key]!
  }

  /// Decodes the payload as it is, and again with a default for what turns out to be missing.
  private func decode(
    _ payload: [UInt8], _ record: RecordCoordinates, _ decoder: inout EventDecoder
  ) -> Result<EventFacts, Rejection> {
    let rowStart = batch.rows.count
    var payload = payload
    var result = decodeOnce(payload, record, &decoder)
    if let model = defaults.model, case .failure(let rejection) = result, rejection.isMissingModel {
      payload = Self.adding("model", model, to: payload)
      result = decodeOnce(payload, record, &decoder)
    }
    if let domain = defaults.domain, case .success(let facts) = result, facts.domain == nil {
      batch.rows.truncate(to: rowStart)
      result = decodeOnce(Self.adding("domain", domain, to: payload), record, &decoder)
    }
    return result
  }

  private func decodeOnce(
    _ payload: [UInt8], _ record: RecordCoordinates, _ decoder: inout EventDecoder
  ) -> Result<EventFacts, Rejection> {
    payload.withUnsafeBytes { value in
      do throws(Rejection) {
        return .success(
          try decoder.decode(
            value, at: record, nowMicros: nowMicros, into: &batch.rows, repairs: &batch.repairs))
      } catch {
        return .failure(error)
      }
    }
  }

  /// An object with one member more. It stands last, for the last of two members of one name counts, and the first may
  /// be a null. `object` is valid JSON and has a member, as every event with a time has.
  static func adding(_ name: StaticString, _ value: String, to object: [UInt8]) -> [UInt8] {
    guard let end = object.lastIndex(of: UInt8(ascii: "}")) else { return object }
    return object[..<end] + Array(",\"\(name)\":\(jsonString(value))}".utf8)
  }

  /// RFC 8259 section 7.
  private static func jsonString(_ text: String) -> String {
    var quoted = String.UnicodeScalarView("\"".unicodeScalars)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += ["\\", scalar]
      case "\u{00}"..."\u{1F}":
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u\(String(repeating: "0", count: 4 - digits.count))\(digits)".unicodeScalars
      default: quoted.append(scalar)
      }
    }
    return String(quoted) + "\""
  }
}

extension Rejection {
  /// A detail begins with the name of the field.
  fileprivate var isMissingModel: Bool { reason == .missingField && detail.hasPrefix("model:") }
}
