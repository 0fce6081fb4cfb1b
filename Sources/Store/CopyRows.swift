import Postgres
import Telemetry

extension Connection {
  /// Appends rows to a table by COPY, encoding one at a time: however many there are, they take no memory.
  ///
  /// - Parameter encode: Appends the fields of an element's row, in the order of the columns.
  func copyIn<Rows: Collection>(
    _ rows: Rows, into table: String, _ columns: [String],
    encode: (Rows.Element, inout ByteArena) -> Void
  ) throws(PostgresError) {
    if rows.isEmpty { return }
    var row = ByteArena(capacity: 1024)
    try copyIn(
      "COPY \(table) (\(columns.joined(separator: ", "))) FROM STDIN (FORMAT binary)",
      operation: "append to \(table)"
    ) { writer in
      for element in rows {
        row.truncate(to: 0)
        row.appendBigEndian(Int16(columns.count))
        encode(element, &row)
        writer.send(copyOf: row.bytes)
      }
    }
  }
}

/// Fields of a row in COPY's binary format.
extension ByteArena {
  mutating func field<Value: FixedWidthInteger>(_ value: Value) {
    appendBigEndian(Int32(MemoryLayout<Value>.size))
    appendBigEndian(value)
  }

  mutating func field(optional value: Int64?) {
    if let value { field(value) } else { appendBigEndian(Int32(-1)) }
  }

  mutating func field(optionalMicroDollars value: Int64?) {
    if let value { appendField(microDollars: value) } else { appendBigEndian(Int32(-1)) }
  }

  mutating func field(text: StaticString) {
    appendBigEndian(Int32(text.utf8CodeUnitCount))
    append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func field(text: ArraySlice<UInt8>?) {
    guard let text else { return appendBigEndian(Int32(-1)) }
    appendBigEndian(Int32(text.count))
    text.withUnsafeBytes { append($0) }
  }

  /// A one-dimensional array without nulls (`array_recv` in PostgreSQL's arrayfuncs.c).
  mutating func array<Value: FixedWidthInteger>(_ values: ArraySlice<Value>, of type: Parameters.TypeID) {
    let elementSize = 4 + MemoryLayout<Value>.size
    appendBigEndian(Int32(values.isEmpty ? 12 : 20 + values.count * elementSize))
    appendBigEndian(Int32(values.isEmpty ? 0 : 1))
    appendBigEndian(Int32(0))
    appendBigEndian(type.rawValue)
    guard !values.isEmpty else { return }
    appendBigEndian(Int32(values.count))
    appendBigEndian(Int32(1))
    for value in values { field(value) }
  }
}
