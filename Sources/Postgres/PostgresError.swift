/// A failure reported by the server, or by libpq on the way to it.
///
/// `detail` may quote values of a row: log it at debug only.
public struct PostgresError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was attempted, e.g. "copy into chat_telemetry".
  public var operation: String
  /// The five characters of SQLSTATE; nil where the failure is of the connection and no server spoke.
  public var sqlState: SQLState?
  /// The server's primary message, or libpq's.
  public var message: String
  public var detail: String?
  public var hint: String?
  public var constraint: String?
  /// Where in the statement, e.g. "COPY chat_telemetry, line 3, column cost_usd".
  public var context: String?
  /// The connection is unusable from here on.
  public var connectionLost: Bool

  public init(
    operation: String, sqlState: SQLState? = nil, message: String, detail: String? = nil, hint: String? = nil,
    constraint: String? = nil, context: String? = nil, connectionLost: Bool = false
  ) {
    self.operation = operation
    self.sqlState = sqlState
    self.message = message
    self.detail = detail
    self.hint = hint
    self.constraint = constraint
    self.context = context
    self.connectionLost = connectionLost
  }

  public var description: String {
    var text = "could not \(operation): \(message)"
    if let sqlState { text += " (SQLSTATE \(sqlState))" }
    if let constraint { text += ", constraint \(constraint)" }
    if let hint { text += "; hint: \(hint)" }
    return text
  }

  /// The line of a COPY: the first integer behind the first comma in the context's line that begins with COPY, whatever
  /// the language of the server's messages. Only a hint: whoever uses it must verify it.
  public var copyLine: Int? {
    // Contexts stand one in a line, the innermost first: a JSON parser's, a trigger's, then the COPY's.
    guard let copy = context?.split(separator: "\n").last(where: { $0.hasPrefix("COPY ") }),
      let comma = copy.firstIndex(of: ",")
    else { return nil }
    let digits = copy[comma...].drop { !("0"..."9").contains($0) }.prefix { ("0"..."9").contains($0) }
    return Int(digits)
  }
}

extension PostgresError {
  /// Whether the failure is of the kind that passes by itself (PostgreSQL documentation, appendix A). Anything else
  /// is tried again too, for it must never cost an event, but somebody has to mend it.
  public var isEnvironment: Bool {
    guard let sqlState else { return true }
    // 08 connection, 25 transaction state (read-only), 40 rollback, 53 resources, 55 locks, 57 intervention, 58 system.
    return ["08", "25", "40", "53", "55", "57", "58"].contains(sqlState.category)
  }
}

/// The five characters with which the server names a condition (PostgreSQL documentation, appendix A).
public struct SQLState: Hashable, Sendable, CustomStringConvertible, ExpressibleByStringLiteral {
  public let code: String

  public init(_ code: String) { self.code = code }
  public init(stringLiteral code: String) { self.code = code }

  public var description: String { code }
  /// The first two characters: the class of the condition.
  public var category: Substring { code.prefix(2) }

  public static let uniqueViolation: SQLState = "23505"
  public static let notNullViolation: SQLState = "23502"
  public static let checkViolation: SQLState = "23514"
  public static let programLimitExceeded: SQLState = "54000"
  public static let readOnlyTransaction: SQLState = "25006"
  public static let deadlockDetected: SQLState = "40P01"
  public static let lockNotAvailable: SQLState = "55P03"
  public static let insufficientPrivilege: SQLState = "42501"
  public static let undefinedTable: SQLState = "42P01"
}
