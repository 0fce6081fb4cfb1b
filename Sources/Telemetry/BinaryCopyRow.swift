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
  ///
  /// - Parameter micros: Micro-dollars, not negative.
  public mutating func appendField(microDollars micros: Int64) {
    assert(micros >= 0)
    // The last two groups are the fraction's; the first place of dollars, 5, has a weight of 0.
    var groups = SIMD8<Int16>()
    let fraction = micros % 1_000_000 * 100
    groups[6] = Int16(fraction / 10_000)
    groups[7] = Int16(fraction % 10_000)
    var first = 6
    var dollars = micros / 1_000_000
    while dollars > 0 {
      first -= 1
      groups[first] = Int16(dollars % 10_000)
      dollars /= 10_000
    }
    var last = 7
    while last >= first && groups[last] == 0 { last -= 1 }
    while first < last && groups[first] == 0 { first += 1 }
    let count = last - first + 1
    appendBigEndian(Int32(8 + 2 * count))
    appendBigEndian(Int16(count))
    appendBigEndian(Int16(count == 0 ? 0 : 5 - first))
    appendBigEndian(Int16(0))
    appendBigEndian(Int16(6))
    for place in first..<(last + 1) { appendBigEndian(groups[place]) }
  }
}
