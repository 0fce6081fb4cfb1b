/// Ways in which producers spoil an event, each with the reason that its dead letter has.
enum Malformation: String, CaseIterable, Sendable {
  case truncated
  case trailingData = "trailing_data"
  case notANumber = "not_a_number"
  case rawControlCharacter = "raw_control_character"
  case invalidUTF8 = "invalid_utf8"
  case notAnObject = "not_an_object"
  case missingSession = "missing_session"
  case missingModel = "missing_model"
  case numberInString = "number_in_string"
  case fraction
  case negativeTokens = "negative_tokens"
  case hugeCost = "huge_cost"
  case unreadableTime = "unreadable_time"
  case farFuture = "far_future"
  case secondsForMilliseconds = "seconds_for_milliseconds"
  case endlessSession = "endless_session"
  case tooDeep = "too_deep"

  /// The dead letter's reason, as the tables and metrics name it.
  var reason: String {
    switch self {
    case .truncated, .trailingData, .notANumber, .rawControlCharacter: "invalid_json"
    case .invalidUTF8: "invalid_utf8"
    case .notAnObject: "not_an_object"
    case .missingSession, .missingModel: "missing_field"
    case .numberInString, .fraction: "wrong_type"
    case .negativeTokens, .hugeCost: "out_of_range"
    case .unreadableTime: "invalid_time"
    case .farFuture: "future_time"
    case .secondsForMilliseconds: "past_time"
    case .endlessSession: "too_long"
    case .tooDeep: "too_deep"
    }
  }

  /// Spoils a good event. It stays one line.
  func spoil(_ event: inout [UInt8]) {
    switch self {
    case .truncated: event.removeLast(event.count / 3)
    case .trailingData: event.append(" {}")
    case .notAnObject: event = Array("[1,2,3]".utf8)
    case .tooDeep: Self.addDeepField(&event)
    case .notANumber: Self.replace("cost_usd", Array("NaN".utf8), in: &event)
    case .rawControlCharacter: Self.replace("session_id", Array("\"a\tb\"".utf8), in: &event)
    case .invalidUTF8: Self.replace("session_id", [0x22, 0xC3, 0x28, 0x22], in: &event)
    case .missingSession: Self.replace("session_id", Array("null".utf8), in: &event)
    case .missingModel: Self.replace("model", Array("null".utf8), in: &event)
    case .numberInString: Self.replace("input_tokens", Array("\"12\"".utf8), in: &event)
    case .fraction: Self.replace("output_tokens", Array("1.5".utf8), in: &event)
    case .negativeTokens: Self.replace("input_tokens", Array("-1".utf8), in: &event)
    case .hugeCost: Self.replace("cost_usd", Array("1000000".utf8), in: &event)
    case .unreadableTime: Self.replace("created_at", Array("\"yesterday\"".utf8), in: &event)
    case .farFuture: Self.replace("created_at", Array("\"2999-01-01T00:00:00Z\"".utf8), in: &event)
    case .secondsForMilliseconds: Self.replace("created_at", Array("1732233600".utf8), in: &event)
    case .endlessSession:
      let name = [0x22] + [UInt8](repeating: UInt8(ascii: "s"), count: 600) + [0x22]
      Self.replace("session_id", name, in: &event)
    }
  }

  /// A field that nothing reads, 70 levels deep.
  private static func addDeepField(_ event: inout [UInt8]) {
    event.removeLast()
    event.append(",\"trace\":")
    event.append(contentsOf: [UInt8](repeating: UInt8(ascii: "["), count: 70))
    event.append(contentsOf: [UInt8](repeating: UInt8(ascii: "]"), count: 70))
    event.append("}")
  }

  /// Puts another value in place of a scalar one that has no comma in it.
  private static func replace(_ field: String, _ value: [UInt8], in event: inout [UInt8]) {
    guard let name = event.firstRange(of: Array("\"\(field)\":".utf8)) else {
      preconditionFailure("every generated event has \(field)")
    }
    let end = event[name.upperBound...].firstIndex { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: "}") }
    event.replaceSubrange(name.upperBound..<(end ?? event.endIndex), with: value)
  }
}
