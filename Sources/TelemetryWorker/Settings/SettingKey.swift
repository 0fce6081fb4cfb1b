/// Describes one setting: the parser, the help, the error messages and the checks of `config/worker.yaml` and the
/// README all read this.
struct SettingKey: Sendable {
  /// Section and name, as in YAML: `ingest.batch_events`.
  let name: String
  /// What it is for, in a line or two.
  let summary: String
  /// What it takes, as a noun phrase: `an integer from 1 to 1000000 (events)`.
  let allowed: String
  /// Its own flag, if it has one besides `--set`.
  let flag: String?
  /// Whether it may hold a secret: then never a flag, never quoted, and `..._FILE` is read too.
  let isSecret: Bool
  /// Reads a value into the settings.
  let read: @Sendable (SettingValue, inout Settings) throws(SettingFault) -> Void
  /// The value as one would write it, secrets left out; empty is none.
  let show: @Sendable (Settings) -> String

  var defaultText: String { show(Settings()) }

  /// The environment variable: `TELEMETRY_INGEST_BATCH_EVENTS`.
  var variable: String { Self.variablePrefix + name.uppercased().map { $0 == "." ? "_" : $0 } }

  static let variablePrefix = "TELEMETRY_"
  /// Ends the name of the variable that names a file holding a secret setting's value.
  static let fileSuffix = "_FILE"
  /// The setting that is a map: any name may follow it.
  static let properties = "kafka.properties"

  static func named(_ name: String) -> SettingKey? { byName[name] }

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
  /// `kafka`, `postgres`, …
  static let sections = Set(all.map { String($0.name.prefix { $0 != "." }) })
}

/// Why a value was refused: the end of "the value is …", as in `not an integer`.
struct SettingFault: Error {
  var reason: String
  init(_ reason: String) { self.reason = reason }
}

/// The kinds of settings. Each takes the default from `Settings()`, so that it is written once.
extension SettingKey {
  typealias Path<Value> = any WritableKeyPath<Settings, Value> & Sendable

  /// A setting whose text `parse` turns into a value and `show` back into text.
  static func value<Value>(
    _ name: String, _ path: Path<Value>, _ allowed: String, flag: String? = nil, isSecret: Bool = false,
    _ summary: String, show: @escaping @Sendable (Value) -> String,
    parse: @escaping @Sendable (String) throws(SettingFault) -> Value
  ) -> SettingKey {
    SettingKey(
      name: name, summary: summary, allowed: allowed, flag: flag, isSecret: isSecret,
      read: { (raw, settings) throws(SettingFault) in
        guard let text = raw.text else { throw SettingFault("a list, not one value") }
        guard !hasControlCharacter(text) else {
          throw SettingFault("not plain text: it has a control character")
        }
        settings[keyPath: path] = try parse(text)
      },
      show: { show($0[keyPath: path]) })
  }

  static func integer(
    _ name: String, _ path: Path<Int>, _ range: ClosedRange<Int>, unit: String, _ summary: String
  ) -> SettingKey {
    let allowed = "an integer from \(range.lowerBound) to \(range.upperBound) (\(unit))"
    return value(name, path, allowed, summary, show: String.init) { (text) throws(SettingFault) in
      guard isInteger(text) else { throw SettingFault("not an integer") }
      guard let number = Int(text), range.contains(number) else { throw SettingFault("out of range") }
      return number
    }
  }

  static func size(
    _ name: String, _ path: Path<Int>, _ range: ClosedRange<Int>, _ summary: String
  ) -> SettingKey {
    let bounds = "from \(ByteSize.text(range.lowerBound)) to \(ByteSize.text(range.upperBound))"
    let allowed = "a size \(bounds): bytes, or a number with KiB, MiB or GiB"
    return value(name, path, allowed, summary, show: ByteSize.text) { (text) throws(SettingFault) in
      guard let bytes = ByteSize.parse(text) else { throw SettingFault("not a size") }
      guard range.contains(bytes) else { throw SettingFault("out of range") }
      return bytes
    }
  }

  static func choice<Value: RawRepresentable & CaseIterable & Sendable>(
    _ name: String, _ path: Path<Value>, flag: String? = nil, _ summary: String
  ) -> SettingKey where Value.RawValue == String {
    let choices = Value.allCases.map(\.rawValue).joined(separator: ", ")
    return value(name, path, "one of \(choices)", flag: flag, summary, show: \.rawValue) {
      (text) throws(SettingFault) in
      guard let value = Value(rawValue: text) else { throw SettingFault("none of these") }
      return value
    }
  }

  static func text(
    _ name: String, _ path: Path<String>, _ allowed: String, flag: String? = nil, _ summary: String,
    check: @escaping @Sendable (String) -> String?
  ) -> SettingKey {
    value(name, path, allowed, flag: flag, summary, show: \.self) { (text) throws(SettingFault) in
      if text.isEmpty { throw SettingFault("empty") }
      if let reason = check(text) { throw SettingFault(reason) }
      return text
    }
  }

  /// A text that may be none, which is written as nothing.
  static func optional(
    _ name: String, _ path: Path<String?>, _ allowed: String, isSecret: Bool = false, _ summary: String,
    show: @escaping @Sendable (String) -> String = { $0 }, check: @escaping @Sendable (String) -> String?
  ) -> SettingKey {
    value(
      name, path, allowed + ", or nothing", isSecret: isSecret, summary, show: { $0.map(show) ?? "" },
      parse: { (text) throws(SettingFault) in
        if text.isEmpty { return nil }
        if let reason = check(text) { throw SettingFault(reason) }
        return text
      })
  }

  /// Items separated by commas, in YAML also a sequence; each once.
  static func list(
    _ name: String, _ path: Path<[String]>, _ allowed: String, flag: String? = nil, mayBeEmpty: Bool = false,
    _ summary: String, check: @escaping @Sendable (String) -> String?
  ) -> SettingKey {
    SettingKey(
      name: name, summary: summary, allowed: allowed, flag: flag, isSecret: false,
      read: { (raw, settings) throws(SettingFault) in
        settings[keyPath: path] = try items(raw, mayBeEmpty: mayBeEmpty, check: check)
      },
      show: { $0[keyPath: path].joined(separator: ",") })
  }

  private static func items(
    _ raw: SettingValue, mayBeEmpty: Bool, check: (String) -> String?
  ) throws(SettingFault) -> [String] {
    let items = raw.items
    if items.isEmpty && !mayBeEmpty { throw SettingFault("empty") }
    for (index, item) in items.enumerated() {
      let shown = Redaction.quoted(item)
      if item.isEmpty { throw SettingFault("wrong: an item is empty") }
      if hasControlCharacter(item) { throw SettingFault("wrong: an item has a control character") }
      if let reason = check(item) { throw SettingFault("wrong: \(shown) is \(reason)") }
      if items[..<index].contains(item) { throw SettingFault("wrong: \(shown) stands there twice") }
    }
    return items
  }

  static func isInteger(_ text: String) -> Bool {
    let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
    return !digits.isEmpty && digits.utf8.allSatisfy { (0x30...0x39).contains($0) }
  }

  static func hasControlCharacter(_ text: String) -> Bool {
    text.unicodeScalars.contains { $0.properties.generalCategory == .control }
  }
}

/// Sizes as people write them.
enum ByteSize {
  private static let units: [(suffix: String, shift: Int)] = [("GiB", 30), ("MiB", 20), ("KiB", 10)]

  /// `33554432`, `32MiB` or `32 MiB`; nil for anything else.
  static func parse(_ text: String) -> Int? {
    let unit = units.first { text.hasSuffix($0.suffix) }
    let digits = unit == nil ? text : String(text.dropLast(3)).trimmed
    guard !digits.hasPrefix("-"), SettingKey.isInteger(digits), let number = Int(digits) else { return nil }
    let (bytes, overflow) = number.multipliedReportingOverflow(by: 1 << (unit?.shift ?? 0))
    return overflow ? nil : bytes
  }

  /// The shortest exact way to write it.
  static func text(_ bytes: Int) -> String {
    let unit = units.first { bytes > 0 && bytes % (1 << $0.shift) == 0 }
    return unit.map { "\(bytes >> $0.shift)\($0.suffix)" } ?? "\(bytes)"
  }
}
