import Store
import Telemetry

/// Dead letters for people. What a record's producer chose may steer a terminal, so it is shown without control
/// characters.
enum DeadLetterText {
  static func list(_ letters: [DeadLetterSummary], resolved: Bool) -> String {
    if letters.isEmpty { return "none\n" }
    var columns: [TextTable.Column] = [
      .number("id"), .text("received"), .text("topic"), .number("partition"), .number("offset"),
      .number("bytes"),
      .text("reason"), .text("detail"),
    ]
    if resolved { columns.append(.text("resolution")) }
    var table = TextTable(columns)
    for each in letters {
      table.add(
        [
          "\(each.id)", each.receivedAt, each.topic, "\(each.partition)", "\(each.offset)",
          "\(each.payloadBytes)",
          each.reason, each.detail,
        ] + (resolved ? [each.resolution ?? "-"] : []))
    }
    return table.rendered(width: Console.width)
  }

  static func counts(_ counts: [DeadLetterQueries.ReasonCount]) -> String {
    if counts.isEmpty { return "" }
    var table = TextTable(.text("reason"), .number("records"))
    for each in counts { table.add(each.reason, NumberText.grouped(each.records)) }
    table.add("all", NumberText.grouped(counts.reduce(0) { $0 + $1.records }))
    return table.rendered(width: Console.width)
  }

  static func failures(_ failures: [RetryReport.Failure]) -> String {
    var table = TextTable(.number("id"), .text("reason"), .text("detail"))
    for each in failures { table.add("\(each.id)", each.reason, each.detail) }
    return table.rendered(width: Console.width)
  }

  /// A line about ids that were named in vain; nothing where there are none.
  static func notWaiting(_ count: Int) -> String {
    count == 0 ? "" : "no such dead letter, or resolved before: \(NumberText.grouped(count))\n"
  }

  /// Everything about one; `hex` shows key and payload as digits also where they are text.
  static func letter(_ letter: StoredDeadLetter, hex: Bool) -> String {
    let summary = letter.summary
    var lines = [
      "dead letter  \(summary.id)",
      "topic        \(shown(summary.topic)), partition \(summary.partition), offset \(summary.offset)",
      "record time  \(summary.recordTimestamp ?? "none")", "received     \(summary.receivedAt)",
    ]
    if let resolvedAt = summary.resolvedAt {
      lines.append("resolved     \(resolvedAt), \(summary.resolution ?? "")")
    }
    lines += [
      "reason       \(shown(summary.reason)): \(explanation(of: summary.reason))",
      "detail       \(shown(summary.detail))",
    ]
    if let day = summary.eventDay { lines.append("event day    \(day)") }
    for header in letter.headers ?? [] {
      let name = header.key ?? header.keyBase64.map { "base64:\($0)" } ?? ""
      let value = header.value ?? header.valueBase64.map { "base64:\($0)" } ?? "null"
      lines.append("header       \(shown(name)) = \(shown(value))")
    }
    lines.append("key          \(letter.key.map { text($0, hex: hex) } ?? "none")")
    lines.append("payload      \(NumberText.grouped(summary.payloadBytes)) bytes")
    lines.append(letter.payload.map { text($0, hex: hex) } ?? "(not kept)")
    return lines.joined(separator: "\n") + "\n"
  }

  private static func text(_ bytes: [UInt8], hex: Bool) -> String {
    if !hex, let string = String(validating: bytes, as: UTF8.self) { return shown(string) }
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// Line ends and tabs stay; other control and format characters become U+FFFD.
  private static func shown(_ text: String) -> String {
    String(
      String.UnicodeScalarView(
        text.unicodeScalars.map { scalar in
          switch scalar.properties.generalCategory {
          case .control where scalar != "\n" && scalar != "\t": "\u{FFFD}"
          case .format: "\u{FFFD}"
          default: scalar
          }
        }))
  }

  static func explanation(of reason: String) -> String {
    RejectionReason(rawValue: reason)?.explanation ?? "a reason that this version does not know"
  }
}

extension RejectionReason {
  /// What it means and what helps, in a sentence.
  var explanation: String {
    switch self {
    case .invalidUTF8: "the payload is no UTF-8, which JSON must be; its producer must mend it"
    case .invalidJSON:
      "the payload is no JSON value by RFC 8259, or something follows it; its producer must mend it"
    case .notAnObject: "the payload is JSON but no object, so it has no fields"
    case .missingField:
      "a field that every event needs is absent, null or blank; for a model, retry takes a default with --model"
    case .wrongType: "a field holds another type than it must; a number within a string is no number"
    case .outOfRange: "a number is negative or larger than its column holds"
    case .invalidTime: "a time is neither RFC 3339 nor an integer of milliseconds since 1970"
    case .futureTime:
      "the event's time was further ahead of the clock than ingest.max_future_seconds; retry it later"
    case .pastTime:
      "the event is older than ingest.max_age_days: perhaps its seconds were taken for milliseconds"
    case .beforeRetention:
      "the raw rows of the event's day were dropped, so it cannot be told whether it was counted already"
    case .tooLong: "a text is longer than its field may be"
    case .tooDeep: "the payload's objects and arrays are nested deeper than any event's"
    case .rejectedByDatabase:
      "the database refused the row for its data, as by a constraint of your own; mend that and retry it"
    }
  }
}
