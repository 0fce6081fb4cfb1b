import Postgres
import Telemetry

/// Stores the raw rows of one batch within an open transaction, telling new rows, rows that are there already and
/// rows that the server refuses for their data apart.
///
/// The keyed table itself objects to a repeat; that costs nothing where there is none. What remains to be stored is a
/// list of runs of rows: a run that the server refuses is narrowed down and its parts go back on the list.
struct RawRowWriter {
  let connection: Connection
  let schema: Schema
  let batch: EventBatch

  /// Rows that this transaction stored.
  private(set) var stored: [Int] = []
  /// Rows whose keys were in the table before.
  private(set) var duplicates: [Int] = []
  private(set) var refused: [RefusedRow] = []

  /// Everything that was asked for, in the order of the keys.
  private var wanted: [Int] = []
  private var collisions = 0
  private var hasSampled = false

  /// Refusals of a batch after which a sample of it is tried, to see whether the table is wrong.
  private static let refusalsBeforeSample = 10
  private static let sampleSize = 100

  init(connection: Connection, schema: Schema, batch: EventBatch) {
    self.connection = connection
    self.schema = schema
    self.batch = batch
  }

  /// Stores `rows`, which are in the order of their keys. Afterwards `stored`, `duplicates` and `refused` hold each
  /// of them once. `probeFirst` asks for the keys that exist before copying, which pays where repeats abound.
  mutating func store(_ rows: [Int], probeFirst: Bool) throws {
    wanted = rows
    let fresh = probeFirst ? try dropExisting(rows[...]) : rows[...]
    var runs = fresh.isEmpty ? [] : [fresh]
    while let run = runs.popLast() {
      do throws(PostgresError) {
        try attempt(run)
      } catch {
        if error.connectionLost { throw error }
        try rollBack()
        runs += try narrow(run, error).reversed()
      }
    }
    if rows.count >= Self.sampleSize { try checkShare(refused, of: rows.count) }
    if collisions > 1 || !refused.isEmpty { stored.sort { batch.key($0) < batch.key($1) } }
  }

  /// What is left to try of a run that failed.
  private mutating func narrow(_ run: ArraySlice<Int>, _ error: PostgresError) throws -> [ArraySlice<Int>] {
    if error.sqlState == .uniqueViolation {
      collisions += 1
      guard collisions == 1 else {
        // Another transaction may hold the same key uncommitted, which no probe sees.
        return try insertAroundConflicts(run)
      }
      let fresh = try dropExisting(run)
      return fresh.isEmpty ? [] : [fresh]
    }
    guard error.blamesTheRow else { throw error }
    guard batch.keepsSources else { throw RecordsNeeded() }
    if run.count == 1 {
      refused.append(RefusedRow(row: run[run.startIndex], error: error))
      if refused.count >= Self.refusalsBeforeSample && !hasSampled { try sample() }
      return []
    }
    return Self.split(run, around: error.copyLine)
  }

  /// The runs before and at the line that the error names, and what follows in halves; halves where it names none.
  ///
  /// In halves, because the next bad row may be in there: a COPY sends its whole run before it hears of the failure,
  /// and where many rows are bad the rest must not be sent as often.
  static func split(_ run: ArraySlice<Int>, around line: Int?) -> [ArraySlice<Int>] {
    guard let line, (1...run.count).contains(line) else { return halves(run) }
    let at = run.startIndex + line - 1
    return ([run[..<at], run[at...at]] + halves(run[(at + 1)...])).filter { !$0.isEmpty }
  }

  private static func halves(_ run: ArraySlice<Int>) -> [ArraySlice<Int>] {
    let middle = run.startIndex + run.count / 2
    return [run[..<middle], run[middle...]]
  }

  // MARK: The statements

  private mutating func attempt(_ run: ArraySlice<Int>) throws(PostgresError) {
    try copy(run)
    // What is stored so far must survive a later failure in this batch.
    if run.count < batch.count {
      try connection.execute("RELEASE raw; SAVEPOINT raw", operation: "set a savepoint")
    }
    stored += run
  }

  private func copy(_ run: ArraySlice<Int>) throws(PostgresError) {
    try connection.copyIn(Self.copyStatement(schema), operation: "copy into chat_telemetry") { writer in
      for row in run { writer.send(batch.row(row)) }
    }
  }

  static func copyStatement(_ schema: Schema) -> String {
    let columns = RawColumn.allCases.map(\.name).joined(separator: ", ")
    return "COPY \(schema.rawTable) (\(columns)) FROM STDIN (FORMAT binary)"
  }

  private func rollBack() throws(PostgresError) {
    try connection.execute("ROLLBACK TO SAVEPOINT raw", operation: "go back to the savepoint")
  }

  /// The rows of the run whose keys the table does not hold; the others are duplicates.
  private mutating func dropExisting(_ run: ArraySlice<Int>) throws(PostgresError) -> ArraySlice<Int> {
    guard let first = run.first, let last = run.last else { return run }
    var parameters = keyParameters(run)
    parameters.append(batch.key(first).createdAt - postgresEpochMicros, as: .timestamptz)
    parameters.append(batch.key(last).createdAt - postgresEpochMicros, as: .timestamptz)
    // OFFSET keeps the probe a lookup for each key: a hash join would read whole days. One value of what is missing, and
    // not a row for each key, because a replay finds nearly all.
    let missing = try connection.query(
      """
      SELECT array_to_string(array_agg(u.place), ' ') FROM unnest($1, $2) WITH ORDINALITY AS u (created_at, id, place)
      WHERE NOT EXISTS (
        SELECT FROM \(schema.rawTable) AS t
        WHERE t.created_at = u.created_at AND t.id = u.id AND t.created_at BETWEEN $3 AND $4
        OFFSET 0)
      """, parameters, operation: "probe for stored keys")
    let isMissing = missing.places(of: run.count)
    duplicates += zip(run, isMissing).lazy.filter { !$0.1 }.map(\.0)
    return zip(run, isMissing).filter(\.1).map(\.0)[...]
  }

  /// Inserts a run by INSERT … ON CONFLICT, which waits for whoever holds a key uncommitted. A failure that blames a
  /// row splits the run in halves.
  private mutating func insertAroundConflicts(_ run: ArraySlice<Int>) throws -> [ArraySlice<Int>] {
    do throws(PostgresError) {
      let places = try insert(run)
      duplicates += run.indices.filter { !places.contains($0) }.map { run[$0] }
      stored += places.sorted().map { run[$0] }
      try connection.execute("RELEASE raw; SAVEPOINT raw", operation: "set a savepoint")
      return []
    } catch {
      if error.connectionLost || !error.blamesTheRow { throw error }
      guard batch.keepsSources else { throw RecordsNeeded() }
      try rollBack()
      if run.count == 1 {
        refused.append(RefusedRow(row: run[run.startIndex], error: error))
        return []
      }
      return Self.split(run, around: nil)
    }
  }

  /// Indices of the run whose rows were inserted.
  private func insert(_ run: ArraySlice<Int>) throws(PostgresError) -> Set<Int> {
    let columns = RawColumn.allCases
    let names = columns.map(\.name).joined(separator: ", ")
    let casts = columns.map { "$\($0.rawValue + 1)::\($0.sqlType)[]" }.joined(separator: ", ")
    let inserted = try connection.query(
      """
      INSERT INTO \(schema.rawTable) (\(names)) SELECT * FROM unnest(\(casts))
      ON CONFLICT (created_at, id) DO NOTHING
      RETURNING (extract(epoch FROM created_at) * 1000000)::bigint, id
      """, columnParameters(run), operation: "insert into chat_telemetry")
    let keys = Set(inserted.rows.compactMap { EventKey(createdAt: $0.int(0), uuid: $0.text(1)) })
    return Set(run.indices.filter { keys.contains(batch.key(run[$0])) })
  }

  private func keyParameters(_ run: ArraySlice<Int>) -> Parameters {
    var parameters = Parameters()
    parameters.array(of: .timestamptz, count: run.count)
    for row in run { parameters.element(batch.key(row).createdAt - postgresEpochMicros) }
    parameters.array(of: .uuid, count: run.count)
    for row in run {
      let key = batch.key(row)
      parameters.element(UInt128(key.idHigh) << 64 | UInt128(key.idLow))
    }
    return parameters
  }

  /// The encoded rows turned into one array for each column: a field of a COPY and an element of an array have the
  /// same binary form.
  private func columnParameters(_ run: ArraySlice<Int>) -> Parameters {
    var offsets = [Int](repeating: MemoryLayout<Int16>.size, count: run.count)
    var parameters = Parameters()
    for column in RawColumn.allCases {
      parameters.array(of: column.parameterType, count: run.count)
      for (place, row) in run.enumerated() {
        let bytes = batch.row(row)
        let start = offsets[place]
        let length = Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: Int32.self)))
        let end = start + 4 + max(length, 0)
        parameters.element(encoded: UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
        offsets[place] = end
      }
    }
    return parameters
  }

  // MARK: Is it the data, or the table?

  /// Tries rows from all over the batch one by one, storing none.
  private mutating func sample() throws {
    hasSampled = true
    let step = max(1, wanted.count / Self.sampleSize)
    var refusals: [RefusedRow] = []
    var tried = 0
    for place in stride(from: 0, to: wanted.count, by: step) {
      let row = wanted[place]
      tried += 1
      do throws(PostgresError) {
        try copy([row])
      } catch {
        if error.connectionLost { throw error }
        if error.blamesTheRow { refusals.append(RefusedRow(row: row, error: error)) }
      }
      try rollBack()
    }
    if tried >= Self.sampleSize { try checkShare(refusals, of: tried) }
  }

  private func checkShare(_ refusals: [RefusedRow], of tried: Int) throws {
    let alike = Dictionary(grouping: refusals, by: \.signature).values.max { $0.count < $1.count }
    guard let alike, alike.count * 2 > tried else { return }
    throw SchemaRefusesRows(refused: alike.count, tried: tried, error: alike[0].error)
  }
}

/// A row is to blame for a failure, and the batch has not kept the bytes that its dead letter needs.
struct RecordsNeeded: Error {}

extension RawColumn {
  var parameterType: Parameters.TypeID {
    switch sqlType {
    case "timestamptz": .timestamptz
    case "uuid": .uuid
    case "text": .text
    case "integer": .int4
    case "numeric": .numeric
    case "boolean": .boolean
    default: .jsonb
    }
  }
}

extension EventKey {
  /// From a time in microseconds since the Unix epoch and the text that PostgreSQL prints for a UUID.
  init?(createdAt: Int64, uuid: String) {
    let hex = uuid.filter { $0 != "-" }
    guard hex.count == 32, let high = UInt64(hex.prefix(16), radix: 16),
      let low = UInt64(hex.suffix(16), radix: 16)
    else { return nil }
    self.init(createdAt: createdAt, idHigh: high, idLow: low)
  }
}
