/// Makes the stored rows of a table what they must be, writing no row that is so already.
struct RowReplacement {
  /// A column and what is written there.
  typealias Assignment = (column: String, value: String)

  /// With its schema.
  var table: String
  /// Columns of the key that every row of the statement shares.
  var shared: [Assignment] = []
  /// The other columns of the key.
  var keys: [String]
  /// The columns that are compared and written.
  var columns: [String]
  /// Columns that only a new row gets.
  var initial: [Assignment] = []
  /// Which stored rows are looked at: those of them that are not expected are deleted.
  var scope: String
  /// Whether the table says when a row was changed.
  var hasUpdateTime = true

  /// Two parts of a WITH: one deletes, one writes. Their rows are never the same.
  ///
  /// - Parameter expected: The name of a part with the columns `keys` and `columns`.
  func parts(_ expected: String) -> String {
    let list = (keys + columns).joined(separator: ", ")
    let match = keys.map { key in
      // The join must be able to hash: hence no IS NOT DISTINCT FROM.
      key == "domain"
        ? "coalesce(e.domain, '') = coalesce(s.domain, '') AND (e.domain IS NULL) = (s.domain IS NULL)"
        : "e.\(key) = s.\(key)"
    }
    let updates =
      columns.map { "\($0) = excluded.\($0)" } + (hasUpdateTime ? ["updated_at = now()"] : [])
    let fixed = shared + initial
    return """
      \(expected)_gone AS (
        DELETE FROM \(table) AS s WHERE \(scope)
          AND NOT EXISTS (SELECT FROM \(expected) AS e WHERE \(match.joined(separator: " AND ")))
      ), \(expected)_put AS (
        INSERT INTO \(table) (\(fixed.map { "\($0.column), " }.joined())\(list))
        SELECT \(fixed.map { "\($0.value), " }.joined())\(list)
        FROM (SELECT \(list) FROM \(expected) EXCEPT SELECT \(list) FROM \(table) WHERE \(scope)) AS changed
        ORDER BY \(keys.joined(separator: ", "))
        ON CONFLICT (\((shared.map(\.column) + keys).joined(separator: ", "))) DO UPDATE SET
          \(updates.joined(separator: ", "))
      )
      """
  }
}
