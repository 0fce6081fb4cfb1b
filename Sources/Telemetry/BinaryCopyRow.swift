// The fields of a row in PostgreSQL's COPY BINARY format: a length, then the value as its type's send
// function writes it (https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format").
extension ByteArena {
  @inline(__always)
  mutating func appendRowHeader(fieldCount: Int) { appendBigEndian(Int16(fieldCount)) }

  @inline(__always)
  mutating func appendNullField() { appendBigEndian(Int32(-1)) }

  /// text
  @inline(__always)
  mutating func appendField(text: UTF8Text) {
    appendBigEndian(Int32(text.count))
    append(text)
  }

  /// timestamptz
  @inline(__always)
  mutating func appendField(time: PostgresMicros) {
    appendBigEndian(Int32(8))
    appendBigEndian(time)
  }

  /// uuid
  @inline(__always)
  mutating func appendField(uuid: EventID) {
    appendBigEndian(Int32(16))
    appendBigEndian(uuid.high)
    appendBigEndian(uuid.low)
  }

  /// integer
  @inline(__always)
  mutating func appendField(integer: Int64) {
    appendBigEndian(Int32(4))
    appendBigEndian(Int32(integer))
  }

  /// integer or null
  @inline(__always)
  mutating func appendField(integer: Int64?) {
    if let integer { appendField(integer: integer) } else { appendNullField() }
  }

  /// boolean
  @inline(__always)
  mutating func appendField(boolean: Bool) {
    appendBigEndian(Int32(1))
    append(byte: boolean ? 1 : 0)
  }

  /// jsonb, in its version 1: the JSON text
  @inline(__always)
  mutating func appendField(json: UTF8Text) {
    appendBigEndian(Int32(json.count + 1))
    append(byte: 1)
    append(json)
  }

  /// numeric, in dollars with six places: digits to the base of 10,000, without zeros at either end
  mutating func appendField(microDollars micros: Int64) {
    assert((0...999_999_999_999).contains(micros))
    let groups = (
      Int16(micros / 10_000_000_000), Int16(micros / 1_000_000 % 10_000), Int16(micros / 100 % 10_000),
      Int16(micros % 100 * 100)
    )
    // The first group counts ten-thousands of dollars: a weight of 1.
    let first = groups.0 != 0 ? 0 : groups.1 != 0 ? 1 : groups.2 != 0 ? 2 : 3
    let last = groups.3 != 0 ? 3 : groups.2 != 0 ? 2 : groups.1 != 0 ? 1 : 0
    let count = micros == 0 ? 0 : last - first + 1
    appendBigEndian(Int32(8 + 2 * count))
    appendBigEndian(Int16(count))
    appendBigEndian(Int16(micros == 0 ? 0 : 1 - first))
    appendBigEndian(Int16(0))
    appendBigEndian(Int16(6))
    if count == 0 { return }
    for index in first...last {
      appendBigEndian(index == 0 ? groups.0 : index == 1 ? groups.1 : index == 2 ? groups.2 : groups.3)
    }
  }
}
