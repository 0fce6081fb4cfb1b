/// One chat request, as drawn. Times in microseconds since 1970-01-01T00:00:00Z, whole milliseconds.
struct SyntheticEvent {
  var idHigh: UInt64
  var idLow: UInt64
  var session: UInt64
  var conversation: UInt64?
  /// Rank of the domain; nil is none.
  var domain: Int?
  var model: Int
  var createdAt: Int64
  var endTime: Int64
  var startTime: Int64
  var durationMs: Int
  var iterations: Int
  var searches: Int
  var inputTokens: Int
  var outputTokens: Int
  /// Nano-dollars.
  var cost: Int64
  var succeeded: Bool
  var timeStyle: TimeStyle
  var optional: OptionalFields
  /// Decides what stands in the fields that are drawn as they are written.
  var details: RandomSource

  /// How producers write times.
  enum TimeStyle {
    case utc
    case offset
    case epochMilliseconds
  }

  struct OptionalFields: OptionSet {
    let rawValue: UInt8
    static let duration = OptionalFields(rawValue: 1)
    static let success = OptionalFields(rawValue: 2)
    static let client = OptionalFields(rawValue: 4)
    static let searchList = OptionalFields(rawValue: 8)
    static let logs = OptionalFields(rawValue: 16)
    static let modelConfig = OptionalFields(rawValue: 32)
  }
}

extension SyntheticEvent {
  /// Appends the id in its usual form, as 36 characters.
  func appendID(to bytes: inout [UInt8]) {
    bytes.appendHex(idHigh >> 32, digits: 8)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendHex(idHigh >> 16, digits: 4)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendHex(idHigh, digits: 4)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendHex(idLow >> 48, digits: 4)
    bytes.append(UInt8(ascii: "-"))
    bytes.appendHex(idLow, digits: 12)
  }

  /// Appends the event as one line of JSON.
  func appendJSON(catalog: Catalog, to bytes: inout [UInt8]) {
    bytes.append("{\"id\":\"")
    appendID(to: &bytes)
    bytes.append("\",\"session_id\":\"sess-")
    bytes.appendHex(session, digits: 12)
    if let conversation {
      bytes.append("\",\"conversation_id\":\"conv-")
      bytes.appendHex(conversation, digits: 12)
    }
    bytes.append("\"")
    if let domain {
      bytes.append(",\"domain\":")
      bytes.append(contentsOf: catalog.domains[domain])
    }
    bytes.append(",\"model\":")
    bytes.append(contentsOf: catalog.models[model].name)
    appendTimes(to: &bytes)
    appendMeasures(to: &bytes)
    appendOutcome(to: &bytes)
    appendDetails(to: &bytes)
    bytes.append("}")
  }

  private func appendTimes(to bytes: inout [UInt8]) {
    bytes.append(",\"start_time\":")
    append(time: startTime, to: &bytes)
    bytes.append(",\"end_time\":")
    append(time: endTime, to: &bytes)
    bytes.append(",\"created_at\":")
    append(time: createdAt, to: &bytes)
  }

  private func append(time: Int64, to bytes: inout [UInt8]) {
    let twoHours: Int64 = 7_200 * Timestamp.microsPerSecond
    switch timeStyle {
    case .epochMilliseconds: bytes.appendDigits(time / 1_000)
    case .utc:
      bytes.append("\"")
      CivilDate.appendTimestamp(time, fractionDigits: 3, to: &bytes)
      bytes.append("\"")
    case .offset:
      bytes.append("\"")
      CivilDate.appendTimestamp(time + twoHours, fractionDigits: 6, suffix: "+02:00", to: &bytes)
      bytes.append("\"")
    }
  }

  private func appendMeasures(to bytes: inout [UInt8]) {
    if optional.contains(.duration) { bytes.append(",\"duration_ms\":", durationMs) }
    bytes.append(",\"iterations\":", iterations)
    if searches > 0 {
      bytes.append(",\"search_count\":", searches)
      bytes.append(",\"total_results\":", (0..<searches).reduce(0) { $0 + resultCount(of: $1) })
    }
    bytes.append(",\"input_tokens\":", inputTokens)
    bytes.append(",\"output_tokens\":", outputTokens)
    bytes.append(",\"cost_usd\":", Int(cost / 1_000_000_000))
    bytes.append(".")
    bytes.appendDigits(cost % 1_000_000_000, width: 9)
  }

  private func appendOutcome(to bytes: inout [UInt8]) {
    if optional.contains(.success) { bytes.append(succeeded ? ",\"success\":true" : ",\"success\":false") }
    if succeeded { return }
    bytes.append(",\"error\":\"")
    bytes.append(Catalog.errors[Int(session % UInt64(Catalog.errors.count))])
    bytes.append("\"")
  }

  /// Results of one search; drawn apart, so that the total and the list agree.
  private func resultCount(of search: Int) -> Int { Int((idLow >> (8 * UInt64(search))) % 11) }

  private func appendDetails(to bytes: inout [UInt8]) {
    var random = details
    if optional.contains(.client) {
      bytes.append(",\"user_agent\":\"")
      bytes.append(Catalog.agents[random.below(Catalog.agents.count)])
      bytes.append("\",\"ip_address\":\"")
      bytes.append(Catalog.networks[random.below(Catalog.networks.count)])
      bytes.appendDigits(Int64(1 + random.below(254)))
      bytes.append("\"")
    }
    if optional.contains(.searchList) && searches > 0 { appendSearches(&random, to: &bytes) }
    if optional.contains(.logs) {
      bytes.append(",\"logs\":[{\"level\":\"info\",\"message\":\"prompt built\",\"at_ms\":", random.below(20))
      bytes.append(
        "},{\"level\":\"warn\",\"message\":\"slow first token\",\"at_ms\":", 20 + random.below(900))
      bytes.append("}]")
    }
    if optional.contains(.modelConfig) {
      bytes.append(",\"max_iterations\":10,\"model_config\":{\"temperature\":0.", random.below(10))
      bytes.append(",\"max_tokens\":", 512 << random.below(4))
      bytes.append("}")
    }
  }

  private func appendSearches(_ random: inout RandomSource, to bytes: inout [UInt8]) {
    for search in 0..<searches {
      bytes.append(search == 0 ? ",\"searches\":[{\"tool\":\"" : ",{\"tool\":\"")
      let tool = Catalog.tools[random.below(Catalog.tools.count)]
      bytes.append(tool)
      bytes.append("\",\"query\":\"")
      bytes.append(Catalog.queries[random.below(Catalog.queries.count)])
      bytes.append("\",\"resultCount\":", resultCount(of: search))
      bytes.append(",\"duration\":", 20 + random.below(400))
      bytes.append(",\"source\":\"")
      bytes.append(tool)
      bytes.append("-index\"}")
    }
    bytes.append("]")
  }
}

extension [UInt8] {
  /// A text and a number that is not negative.
  @inline(__always)
  fileprivate mutating func append(_ text: StaticString, _ number: Int) {
    append(text)
    appendDigits(Int64(number))
  }

  /// The last `digits` hexadecimal digits of a number.
  @inline(__always)
  fileprivate mutating func appendHex(_ number: UInt64, digits: Int) {
    for shift in stride(from: 4 * (digits - 1), through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: number >> UInt64(shift)) & 0xF
      append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
    }
  }
}
