import CLibPQ

/// The rows that a statement returned, in text format, copied out of libpq.
public struct QueryResult: Sendable {
  public let columns: [String]
  public let rows: [Row]
  /// Rows inserted, updated, deleted, copied or selected, as the command tag says.
  public let affected: Int

  public struct Row: Sendable {
    public let values: [String?]

    public subscript(_ column: Int) -> String? { values[column] }
    /// The value of a column that cannot be null and is an integer by its type.
    public func int(_ column: Int) -> Int64 { Int64(values[column] ?? "") ?? 0 }
    public func intOrNil(_ column: Int) -> Int64? { values[column].flatMap { Int64($0) } }
    public func text(_ column: Int) -> String { values[column] ?? "" }
    public func bool(_ column: Int) -> Bool { values[column] == "t" }
  }

  init(_ result: OpaquePointer) {
    let width = PQnfields(result)
    columns = (0..<width).map { String(cString: PQfname(result, $0)) }
    rows = (0..<PQntuples(result)).map { row in
      Row(
        values: (0..<width).map { column in
          guard PQgetisnull(result, row, column) == 0 else { return nil }
          return String(cString: PQgetvalue(result, row, column))
        })
    }
    affected = Int(String(cString: PQcmdTuples(result))) ?? 0
  }
}
