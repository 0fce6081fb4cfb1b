/// A value as one of the sources gave it, before it is read.
enum SettingValue: Equatable, Sendable {
  case text(String)
  /// A YAML sequence.
  case list([String])

  /// The value for a message.
  var shown: String {
    switch self {
    case .text(let text): Redaction.quoted(text)
    case .list(let items): "[" + items.map(Redaction.quoted).joined(separator: ", ") + "]"
    }
  }

  /// One text; nil when it is a list.
  var text: String? {
    if case .text(let text) = self { text } else { nil }
  }

  /// The items of a list, which outside YAML are separated by commas.
  var items: [String] {
    switch self {
    case .list(let items): items
    case .text(""): []
    case .text(let text):
      text.split(separator: ",", omittingEmptySubsequences: false).map { String($0).trimmed }
    }
  }
}

/// Where a value came from, as a message names it.
enum SettingOrigin: Equatable, Hashable, Sendable, CustomStringConvertible {
  case standard
  case file(path: String)
  case variable(String)
  /// A file that a `..._FILE` variable names.
  case secretFile(variable: String, path: String)
  case flag(String)

  var description: String {
    switch self {
    case .standard: "default"
    case .file(let path): "file \(path)"
    case .variable(let name): "variable \(name)"
    case .secretFile(let variable, let path): "file \(path) of variable \(variable)"
    case .flag(let name): "flag \(name)"
    }
  }
}

/// One thing that is wrong with the settings. Holds no secret.
struct SettingProblem: Error, Equatable, Sendable, CustomStringConvertible {
  /// The setting's key, or the name that is no key.
  var key: String
  var origin: SettingOrigin?
  /// What is wrong, with the value unless that is secret.
  var message: String

  var description: String {
    guard let origin else { return "\(key): \(message)" }
    return "\(key) (\(origin)): \(message)"
  }
}

/// Everything that is wrong with the settings, at once.
struct SettingsError: Error, Equatable, Sendable, CustomStringConvertible {
  var problems: [SettingProblem]

  var description: String {
    let heading =
      problems.count == 1 ? "1 problem with the settings" : "\(problems.count) problems with the settings"
    return heading + "\n" + problems.map { "  \($0)" }.joined(separator: "\n")
  }
}

extension String {
  /// Without the spaces, tabs and line ends around it.
  var trimmed: String {
    let kept = drop(while: \.isWhitespace)
    guard let last = kept.lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return String(kept[...last])
  }
}
