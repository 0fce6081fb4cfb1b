import Kafka

/// The librdkafka properties that users may set, and the forms in which they write them.
enum KafkaPropertyRules {
  /// Properties that the worker owns, and what to do instead. Setting one of them could break a promise.
  static let owned: [String: String] = {
    let positions = "positions live in Postgres"
    return [
      "bootstrap.servers": "set kafka.brokers",
      "metadata.broker.list": "set kafka.brokers",
      "group.id": "set kafka.group",
      "group.protocol": "the worker needs the classic protocol",
      "partition.assignment.strategy": "the worker needs eager range assignment",
      "auto.offset.reset": "set kafka.start",
      "enable.auto.commit": positions,
      "auto.commit.enable": positions,
      "auto.commit.interval.ms": positions,
      "enable.auto.offset.store": positions,
      "offset.store.method": positions,
      "offset.store.path": positions,
      "offset.store.sync.interval.ms": positions,
      "isolation.level": "the worker reads committed records only",
      "enable.partition.eof": "the worker needs to see the end of a partition",
    ]
  }()

  /// Why a property may not be set, or nil.
  static func refusal(name: String, origin: SettingOrigin) -> String? {
    if name.wholeMatch(of: /[a-z0-9._\-]+/) == nil {
      return "not a property's name; allowed: lower-case letters, digits, dots, hyphens and underscores"
    }
    if let instead = owned[name] { return "the worker owns this property: \(instead)" }
    if KafkaProperties.ownedByWorker.contains(name) { return "the worker owns this property" }
    if case .flag = origin, Redaction.isSecretName(name) {
      return "a secret must not be a process argument; use a file that \(fileVariable) names"
    }
    return nil
  }

  private static let fileVariable = "TELEMETRY_KAFKA_PROPERTIES_FILE"

  /// Reads `a=b,c=d`; a backslash takes the comma or backslash after it as it is. Messages hold no values.
  static func parse(list text: String) throws(SettingFault) -> [(name: String, value: String)] {
    var entries = [""]
    var isEscaped = false
    for character in text {
      if !isEscaped && character == "\\" {
        isEscaped = true
      } else if !isEscaped && character == "," {
        entries.append("")
      } else {
        if isEscaped && character != "," && character != "\\" {
          throw SettingFault("malformed: a backslash stands before neither a comma nor a backslash")
        }
        entries[entries.count - 1].append(character)
        isEscaped = false
      }
    }
    if isEscaped { throw SettingFault("malformed: a backslash stands at its end") }
    if entries == [""] { return [] }
    return try numbered(entries, "entry")
  }

  /// Reads a file of `name=value` lines; blank lines and those that begin with # are skipped, values are verbatim
  /// but for spaces around them.
  static func parse(file text: String) throws(SettingFault) -> [(name: String, value: String)] {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map(String.init)
    return try numbered(lines.map { $0.trimmed.hasPrefix("#") ? "" : $0 }, "line", skippingBlank: true)
  }

  private static func numbered(
    _ entries: [String], _ what: String, skippingBlank: Bool = false
  ) throws(SettingFault) -> [(name: String, value: String)] {
    var pairs: [(name: String, value: String)] = []
    for (index, entry) in entries.enumerated() {
      if skippingBlank && entry.trimmed.isEmpty { continue }
      guard let pair = pair(entry) else {
        throw SettingFault("malformed: \(what) \(index + 1) is not name=value")
      }
      if pairs.contains(where: { $0.name == pair.name }) {
        throw SettingFault("malformed: \(what) \(index + 1) repeats \(Redaction.quoted(pair.name))")
      }
      pairs.append(pair)
    }
    return pairs
  }

  /// The properties by name, as a list for people; secrets are masked.
  static func shown(_ properties: [String: String]) -> String {
    let entries = properties.sorted { $0.key < $1.key }.map { name, value in
      let escaped = value.replacing("\\", with: "\\\\").replacing(",", with: "\\,")
      return "\(name)=\(Redaction.isSecretName(name) ? Redaction.mask : escaped)"
    }
    return entries.joined(separator: ",")
  }

  /// Splits at the first equals sign.
  static func pair(_ text: String) -> (name: String, value: String)? {
    guard let equals = text.firstIndex(of: "=") else { return nil }
    let name = String(text[..<equals]).trimmed
    return name.isEmpty ? nil : (name, String(text[text.index(after: equals)...]).trimmed)
  }
}
