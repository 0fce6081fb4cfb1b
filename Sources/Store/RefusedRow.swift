import Postgres

/// A row that the server refused for its data.
struct RefusedRow {
  var row: Int
  var error: PostgresError

  /// What tells one kind of refusal from another.
  var signature: Signature {
    Signature(sqlState: error.sqlState, constraint: error.constraint)
  }

  struct Signature: Hashable {
    var sqlState: SQLState?
    var constraint: String?
  }

  /// What the dead letter says. The server's detail may quote the row; the dead letter holds it anyway.
  var detail: String {
    var text = "SQLSTATE \(error.sqlState?.code ?? "-----"): \(error.message)"
    if let constraint = error.constraint { text += " (constraint \(constraint))" }
    return String(text.unicodeScalars.prefix(500)).replacing("\0", with: "\u{FFFD}")
  }
}

/// So many rows were refused alike that it is the schema that is wrong, not the data.
public struct SchemaRefusesRows: Error, CustomStringConvertible {
  public var refused: Int
  public var tried: Int
  public var error: PostgresError

  public var description: String {
    "\(refused) of \(tried) rows were refused alike, so it is the table that is wrong and not the data: \(error); "
      + "nothing was stored and nothing became a dead letter. Compare chat_telemetry with what `migrate` makes"
  }
}

extension PostgresError {
  /// Whether a COPY of raw rows failed for what is in them: class 22 (data exception), a null or check constraint by
  /// name, or a limit of the server. A check violation without a name is a missing partition, not bad data.
  var blamesTheRow: Bool {
    guard let sqlState else { return false }
    if sqlState.category == "22" || sqlState == .notNullViolation || sqlState == .programLimitExceeded {
      return true
    }
    return sqlState == .checkViolation && constraint != nil
  }
}
