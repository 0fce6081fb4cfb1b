/// Makes values fit to be shown: no secrets, no control characters, not endless.
enum Redaction {
  static let mask = "***"

  /// A value in quotes for a message: control characters as U+FFFD, at most 80 characters.
  static func quoted(_ value: String) -> String {
    let limit = 80
    let shown = value.unicodeScalars.prefix(limit).map { scalar -> Character in
      scalar.properties.generalCategory == .control ? "\u{FFFD}" : Character(scalar)
    }
    return "\"" + String(shown) + (value.unicodeScalars.count > limit ? "…" : "") + "\""
  }

  /// A libpq URI or conninfo without its passwords. What is neither is not shown at all.
  static func postgresURL(_ url: String) -> String {
    if let scheme = url.firstRange(of: "://") { return uri(url, afterScheme: scheme.upperBound) }
    return conninfo(url) ?? "(not shown)"
  }

  /// Over-redacts when the text is odd: everything from the user's colon to the last @ may be a password.
  private static func uri(_ url: String, afterScheme start: String.Index) -> String {
    var shown = String(url[..<start])
    var rest = url[start...]
    if let at = rest.lastIndex(of: "@") {
      let user = rest[..<at].prefix { $0 != ":" }
      shown += user.endIndex == at ? "\(user)@" : "\(user):\(mask)@"
      rest = rest[rest.index(after: at)...]
    }
    guard let question = rest.firstIndex(of: "?") else { return shown + rest }
    let parameters = rest[rest.index(after: question)...].split(
      separator: "&", omittingEmptySubsequences: false)
    let safe = parameters.map { parameter -> String in
      let name = parameter.prefix { $0 != "=" }
      // A name may be percent-encoded too; then its value is not worth the risk.
      return isSecretName(name) || name.contains("%") ? "\(name)=\(mask)" : String(parameter)
    }
    return shown + rest[...question] + safe.joined(separator: "&")
  }

  /// `name = value` pairs, a value in single quotes or without spaces, a backslash before any character. Syntax:
  /// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING. Nil when it does not parse.
  private static func conninfo(_ text: String) -> String? {
    var rest = text[...]
    var shown: [String] = []
    while true {
      rest = rest.drop(while: \.isWhitespace)
      if rest.isEmpty { return shown.isEmpty ? nil : shown.joined(separator: " ") }
      let name = rest.prefix { $0 != "=" && !$0.isWhitespace }
      rest = rest[name.endIndex...].drop(while: \.isWhitespace)
      guard !name.isEmpty, rest.first == "=" else { return nil }
      rest = rest.dropFirst().drop(while: \.isWhitespace)
      guard let value = takeConninfoValue(&rest) else { return nil }
      shown.append("\(name)=\(isSecretName(name) ? mask : value)")
    }
  }

  private static func takeConninfoValue(_ rest: inout Substring) -> String? {
    let start = rest.startIndex
    let isQuoted = rest.first == "'"
    if isQuoted { rest = rest.dropFirst() }
    while let character = rest.first {
      if isQuoted && character == "'" {
        let end = rest.index(after: rest.startIndex)
        defer { rest = rest[end...] }
        return String(rest.base[start..<end])
      }
      if !isQuoted && character.isWhitespace { break }
      rest = rest.dropFirst(character == "\\" ? 2 : 1)
    }
    return isQuoted ? nil : String(rest.base[start..<rest.startIndex])
  }

  /// Whether a parameter or property of this name holds a secret.
  static func isSecretName(_ name: some StringProtocol) -> Bool {
    let lowered = name.lowercased()
    return ["password", "secret", ".pem", "passphrase", "oauthbearer.config"].contains {
      lowered.contains($0)
    }
  }
}
