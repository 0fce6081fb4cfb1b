import Postgres
import TestSupport
import Testing

@Suite("Parameters in binary format")
struct ParametersTests {
  private let database: TestDatabase

  init() throws { database = try TestDatabase(migrated: false) }

  /// What the server makes of parameters, as its own text.
  private func echo(_ parameters: Parameters, _ expression: String) throws -> [String?] {
    try database.connect().query("SELECT \(expression)", parameters, operation: "echo").rows[0].values
  }

  @Test("A value of each type arrives as it is")
  func scalars() throws {
    var parameters = Parameters()
    parameters.append(Int64.min)
    parameters.append(Int32.max)
    parameters.append(true)
    parameters.append("ü'\"\\ \u{1F600}")
    parameters.append([0, 0x27, 0x5C, 0xFF] as [UInt8])
    parameters.append(-1, as: .timestamptz)
    #expect(
      try echo(parameters, "$1, $2, $3, $4, encode($5, 'hex'), ($6 AT TIME ZONE 'UTC')::text")
        == [
          "-9223372036854775808", "2147483647", "t", "ü'\"\\ \u{1F600}", "00275cff",
          "1999-12-31 23:59:59.999999",
        ])
  }

  @Test("Null and empty are different things")
  func nullAndEmpty() throws {
    var parameters = Parameters()
    parameters.append(nil as Int64?)
    parameters.append(nil as Int32?)
    parameters.append(nil as String?)
    parameters.append(nil as [UInt8]?)
    parameters.append("")
    parameters.append([] as [UInt8])
    #expect(
      try echo(
        parameters, "$1 IS NULL, $2 IS NULL, $3 IS NULL, $4 IS NULL, $5 = '', octet_length($6)")
        == ["t", "t", "t", "t", "t", "0"])
  }

  @Test("An empty value alone, with no byte in the whole statement, is not null")
  func emptyAlone() throws {
    var parameters = Parameters()
    parameters.append("")
    #expect(try echo(parameters, "$1 IS NULL") == ["f"])
  }

  @Test("Arrays of every type keep their order, their nulls and their length")
  func arrays() throws {
    var parameters = Parameters()
    parameters.array(of: .int8, count: 3)
    parameters.element(Int64.max)
    parameters.element(nil as Int64?)
    parameters.element(Int64(-1))
    parameters.array(of: .int4, count: 1)
    parameters.element(Int32.min)
    parameters.array(of: .int2, count: 1)
    parameters.element(Int16.min)
    parameters.array(of: .text, count: 4)
    parameters.element("a,\"{}")
    parameters.element(nil as String?)
    parameters.element("")
    parameters.element("NULL")
    parameters.array(of: .boolean, count: 2)
    parameters.element(true)
    parameters.element(false)
    parameters.array(of: .bytea, count: 3)
    parameters.element([0xDE, 0xAD] as [UInt8])
    parameters.element(nil as [UInt8]?)
    parameters.element([] as [UInt8])
    #expect(
      try echo(parameters, "$1, $2, $3, $4, $5, $6") == [
        "{9223372036854775807,NULL,-1}", "{-2147483648}", "{-32768}", #"{"a,\"{}",NULL,"","NULL"}"#,
        "{t,f}", #"{"\\xdead",NULL,"\\x"}"#,
      ])
  }

  @Test("Arrays of times, days, ids, numbers and documents arrive in the server's binary forms")
  func typedArrays() throws {
    var parameters = Parameters()
    parameters.array(of: .timestamptz, count: 2)
    parameters.element(Int64(0))
    parameters.element(-postgresEpochMicros)
    parameters.array(of: .date, count: 2)
    parameters.element(Int32(0))
    parameters.element(-postgresEpochDays)
    parameters.array(of: .uuid, count: 1)
    parameters.element(bytes: (0..<16).map { UInt8($0) })
    parameters.array(of: .numeric, count: 2)
    // 1 group, weight 0, positive, 0 places: 42; then a null (numeric_recv in PostgreSQL's numeric.c).
    encoded([0, 0, 0, 10, 0, 1, 0, 0, 0, 0, 0, 0, 0, 42], into: &parameters)
    encoded([0xFF, 0xFF, 0xFF, 0xFF], into: &parameters)
    parameters.array(of: .jsonb, count: 1)
    parameters.element(bytes: [1] + Array(#"{"a":[null]}"#.utf8))
    #expect(
      try echo(
        parameters, "array(SELECT t AT TIME ZONE 'UTC' FROM unnest($1) AS u (t)), $2, $3, $4, $5[1]")
        == [
          #"{"2000-01-01 00:00:00","1970-01-01 00:00:00"}"#, "{2000-01-01,1970-01-01}",
          "{00010203-0405-0607-0809-0a0b0c0d0e0f}", "{42,NULL}", #"{"a": [null]}"#,
        ])
  }

  private func encoded(_ bytes: [UInt8], into parameters: inout Parameters) {
    bytes.withUnsafeBytes { parameters.element(encoded: $0) }
  }

  @Test("An array of numbers given at once arrives as one given one by one does")
  func arraysAtOnce() throws {
    var parameters = Parameters(expectedBytes: 1)
    parameters.array(of: .int8, [Int64.max, 0, Int64.min])
    parameters.append("between")
    parameters.array(of: .int4, [Int32(-1)])
    parameters.array(of: .int2, [] as [Int16])
    #expect(
      try echo(parameters, "$1, $2, $3, cardinality($4)")
        == ["{9223372036854775807,0,-9223372036854775808}", "between", "{-1}", "0"])
  }

  @Test("An empty array is an array, of each type")
  func emptyArrays() throws {
    let types: [Parameters.TypeID] = [
      .boolean, .bytea, .int8, .int2, .int4, .text, .jsonb, .date, .timestamptz, .uuid, .numeric,
    ]
    var parameters = Parameters()
    for type in types { parameters.array(of: type, count: 0) }
    let found = try echo(parameters, types.indices.map { "cardinality($\($0 + 1))" }.joined(separator: ", "))
    #expect(found == types.map { _ in "0" })
  }
}
