/// What a verification found.
public struct VerificationReport: Encodable, Equatable, Sendable {
  /// A key column and its value.
  public struct KeyPart: Equatable, Sendable {
    public var column: String
    public var value: String?
  }

  /// One value that is not what it must be.
  public struct Difference: Encodable, Equatable, Sendable {
    public var table: String
    /// The key columns, in the order of the table's key.
    public var key: [KeyPart]
    /// The column; `row` where the whole row is missing or too many.
    public var measure: String
    /// What follows from the rows that the table is made of; nil for null, or for no row.
    public var expected: String?
    /// What is stored, with what is pending where the table is folded; nil for null, or for no row.
    public var stored: String?

    private enum CodingKeys: CodingKey { case table, key, measure, expected, stored }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(table, forKey: .table)
      try container.encode(
        Dictionary(uniqueKeysWithValues: key.map { ($0.column, $0.value) }), forKey: .key)
      try container.encode(measure, forKey: .measure)
      try container.encode(expected, forKey: .expected)
      try container.encode(stored, forKey: .stored)
    }
  }

  /// Days whose rollups were compared with their raw rows, as far as they lie in the range.
  public var days = 0
  /// Snapshots that took: one a day, or one an hour where a day is large.
  public var snapshots = 0
  /// Days of the range whose raw rows were dropped: nothing to compare with. `YYYY-MM-DD`, ascending.
  public var droppedDays: [String] = []
  /// What else could not be compared, and why.
  public var notCompared: [String] = []
  /// All differences, also those that are not listed.
  public var differenceCount: Int64 = 0
  /// The first differences, at most as many as were asked for.
  public var differences: [Difference] = []

  public var isClean: Bool { differenceCount == 0 }
}
