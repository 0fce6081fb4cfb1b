import Postgres
import TestSupport
import Testing

@Suite("COPY in binary format")
struct CopyTests {
  private let database: TestDatabase
  private let connection: Connection
  private let table: String

  init() throws {
    database = try TestDatabase(migrated: false)
    connection = try database.connect()
    table = database.sql("@.t")
    try connection.execute(
      "CREATE TABLE \(table) (n integer PRIMARY KEY CHECK (n <> 13), body text)", operation: "make a table")
  }

  /// A row of the table in COPY's binary form.
  private static func row(_ number: Int32, _ text: String) -> [UInt8] {
    func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
      withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
    return bigEndian(Int16(2)) + bigEndian(Int32(4)) + bigEndian(number) + bigEndian(Int32(text.utf8.count))
      + Array(text.utf8)
  }

  private static func joined(_ rows: [[UInt8]]) -> [UInt8] {
    var bytes: [UInt8] = []
    for row in rows { bytes += row }
    return bytes
  }

  /// Copies rows that stand one behind the other in memory; `pieces` cuts them anew, whatever the rows.
  @discardableResult
  private func copy(_ rows: [[UInt8]], pieceSize: Int? = nil, into target: String? = nil) throws -> Int {
    try Self.joined(rows).withUnsafeBytes { bytes in
      try connection.copyIn("COPY \(target ?? table) FROM STDIN (FORMAT binary)", operation: "copy") {
        writer in
        let size = pieceSize ?? max(bytes.count, 1)
        for start in stride(from: 0, to: bytes.count, by: size) {
          writer.send(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + size, bytes.count)]))
        }
      }
    }
  }

  @Test(
    "Rows of any size arrive whole, from a few bytes to several MiB, however they are cut",
    arguments: [1, 7, 65_536, 1 << 20, nil])
  func anySize(pieceSize: Int?) throws {
    let sizes =
      pieceSize == 1 ? [0, 1, 100, 70_000] : [0, 1, 65_535, 65_536, 65_537, 3, 262_144, 3 << 20, 5]
    let texts = sizes.enumerated().map { number, size in
      String(repeating: String(UnicodeScalar(UInt8(97 + number))), count: size)
    }
    let rows = texts.enumerated().map { Self.row(Int32($0.offset), $0.element) }
    #expect(try copy(rows, pieceSize: pieceSize) == rows.count)
    let found = try database.rows("SELECT n, length(body), left(body, 1), md5(body) FROM @.t ORDER BY n")
    #expect(found.map { $0[1] } == sizes.map { "\($0)" })
    #expect(found.map { $0[2] } == texts.map { String($0.prefix(1)) })
  }

  @Test("Rows that lie apart in memory arrive in the order in which they were sent")
  func scattered() throws {
    let rows = (0..<2_000).map { Self.row(Int32(100 + $0), "text \(100 + $0)") }
    let joined = Self.joined(rows)
    var ranges: [Range<Int>] = []
    for row in rows {
      let start = ranges.last?.upperBound ?? 0
      ranges.append(start..<start + row.count)
    }
    // Backwards, so that no two rows are neighbours in the order of sending; then pairs that are.
    let order = stride(from: 1_998, through: 0, by: -2).flatMap { [$0, $0 + 1] }
    try joined.withUnsafeBytes { bytes in
      _ = try connection.copyIn("COPY \(table) FROM STDIN (FORMAT binary)", operation: "copy") { writer in
        for place in order { writer.send(UnsafeRawBufferPointer(rebasing: bytes[ranges[place]])) }
      }
    }
    #expect(try database.number("SELECT count(*) FROM @.t WHERE body = 'text ' || n") == 2_000)
    #expect(
      try database.rows("SELECT n FROM @.t ORDER BY ctid").map { $0[0] } == order.map { "\(100 + $0)" })
  }

  @Test("A COPY of nothing copies nothing")
  func nothing() throws {
    #expect(try copy([]) == 0)
  }

  @Test("A COPY that is refused before it starts gives the server's reason, and the connection goes on")
  func refused() throws {
    let missing = try #require(throws: PostgresError.self) {
      try copy([Self.row(1, "a")], into: database.sql("@.nowhere"))
    }
    #expect(missing.sqlState == .undefinedTable)
    #expect(!missing.connectionLost)

    let role = database.role("copier")
    try connection.execute("CREATE ROLE \(role); SET ROLE \(role)", operation: "lose privileges")
    let forbidden = try #require(throws: PostgresError.self) { try copy([Self.row(1, "a")]) }
    #expect(forbidden.sqlState == .insufficientPrivilege)
    try connection.execute("RESET ROLE", operation: "regain privileges")
    #expect(try copy([Self.row(1, "a")]) == 1)
  }

  @Test(
    "A COPY that fails at a row names its line, stores nothing, and the connection goes on",
    arguments: [1, 2, 10_000])
  func failsAtALine(line: Int) throws {
    let rows = (1...10_000).map { Self.row($0 == line ? 13 : Int32(100 + $0), "text") }
    let error = try #require(throws: PostgresError.self) { try copy(rows) }
    #expect(error.sqlState == .checkViolation)
    #expect(error.copyLine == line)
    #expect(!error.connectionLost)
    #expect(try database.number("SELECT count(*) FROM @.t") == 0)
    #expect(try copy([Self.row(1, "a")]) == 1)
  }

  @Test("A repeated key within a COPY is a unique violation at its line")
  func repeatedKey() throws {
    let error = try #require(throws: PostgresError.self) {
      try copy([Self.row(1, "a"), Self.row(2, "b"), Self.row(1, "c")])
    }
    #expect(error.sqlState == .uniqueViolation)
    #expect(error.copyLine == 3)
  }

  @Test("A backend ended while it waits to begin a COPY is a lost connection with the server's reason")
  func endedBeforeACopy() async throws {
    let holder = try database.connect()
    try holder.execute("BEGIN; LOCK TABLE \(table)", operation: "hold a lock")
    let (pid, run) = try victim(database) { [table] connection in
      try connection.copyIn("COPY \(table) FROM STDIN (FORMAT binary)", operation: "copy") { _ in }
    }
    try await database.untilBlocked(pid)
    try database.terminate(pid)
    let error = try #require(await run.value)
    #expect(error.connectionLost)
    #expect(error.sqlState == "57P01")
    withExtendedLifetime(holder) {}
  }

  @Test("A backend ended in the middle of a COPY is a lost connection")
  func endedInACopy() throws {
    let rows = (0..<64).map { Self.row(Int32(100 + $0), String(repeating: "x", count: 1 << 18)) }
    let error = try #require(throws: PostgresError.self) {
      try connection.copyIn("COPY \(table) FROM STDIN (FORMAT binary)", operation: "copy") { writer in
        for (place, row) in rows.enumerated() {
          if place == 8 { try? database.terminate(connection.backendPID) }
          row.withUnsafeBytes { writer.send($0) }
        }
      }
    }
    #expect(error.connectionLost)
    #expect(!connection.isUsable)
    #expect(try database.number("SELECT count(*) FROM @.t") == 0)
  }

  @Test("Who waits for a lock in the middle of a large COPY hears of it, before all of it is sent")
  func stallsInACopy() async throws {
    let holder = try database.connect()
    try holder.execute("BEGIN; INSERT INTO \(table) VALUES (100, 'held')", operation: "hold a key")
    let holderPID = holder.backendPID
    let copying = Background { [database, table] in
      let rows = (100..<124).map { Self.row(Int32($0), String(repeating: "x", count: 1 << 20)) }
      let copier = try database.connect()
      copier.stallAfterMs = 10
      copier.onStall = { _ in try? database.terminate(holderPID) }
      return try Self.joined(rows).withUnsafeBytes { bytes in
        try copier.copyIn("COPY \(table) FROM STDIN (FORMAT binary)", operation: "copy") { $0.send(bytes) }
      }
    }
    #expect(try await copying.value == 24)
    withExtendedLifetime(holder) {}
  }
}

@Suite("The line of a failed COPY")
struct CopyLineTests {
  @Test(
    "It is found in the servers' languages (PostgreSQL's src/backend/po), beside other contexts, or not at all",
    arguments: [
      ("COPY chat_telemetry, line 3, column cost_usd", 3),
      ("COPY chat_telemetry, line 12345678901", 12_345_678_901),
      ("COPY chat_telemetry, Zeile 42, Spalte cost_usd", 42),
      ("COPY chat_telemetry, ligne 7, colonne logs", 7),
      ("COPY chat_telemetry, строка 8, столбец logs", 8),
      ("COPY chat_telemetry2024, line 5", 5),
      // What lies further in comes first: neither its lines nor its commas are the COPY's.
      ("JSON data, line 1: {\"a\":\nCOPY chat_telemetry, line 900, column logs", 900),
      ("PL/pgSQL function check_it(text,integer) line 4 at RAISE\nCOPY chat_telemetry, line 901", 901),
      ("PL/pgSQL function check_it(text,integer) line 4 at RAISE", nil),
      ("chat_telemetryのCOPY、行3、列logs", nil), ("", nil), ("COPY chat_telemetry", nil), (nil, nil),
    ] as [(String?, Int?)])
  func finds(context: String?, line: Int?) {
    #expect(PostgresError(operation: "copy", message: "bad", context: context).copyLine == line)
  }
}
