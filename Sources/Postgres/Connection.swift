import CLibPQ
import Glibc

/// One connection to a server, over libpq. Every call blocks until the server has answered.
///
/// Not Sendable: whoever owns it uses it from one thread at a time. After an error whose `connectionLost` is true it
/// is of no more use but to be thrown away.
public final class Connection {
  let handle: OpaquePointer

  /// Called when the server has neither answered nor taken a COPY's rows for `stallAfterMs` (and again after each such time), with the backend's
  /// process id, e.g. to see who holds the lock that it waits for. It must not use this connection.
  public var onStall: ((_ backendPID: Int32) -> Void)?
  public var stallAfterMs: Int32 = 5_000

  /// Connects. Blocks up to the connect timeout for each host.
  public init(_ options: ConnectionOptions) throws(PostgresError) {
    try options.validate()
    let keywords = options.keywords
    let names = keywords.map { strdup($0.0) } + [nil]
    let values = keywords.map { strdup($0.1) } + [nil]
    defer { for pointer in names + values { free(pointer) } }
    let opened = PQconnectdbParams(
      names.map { $0.map { UnsafePointer($0) } }, values.map { $0.map { UnsafePointer($0) } }, 1)
    guard let opened else {
      throw PostgresError(operation: "connect to PostgreSQL", message: "out of memory", connectionLost: true)
    }
    guard PQstatus(opened) == CONNECTION_OK else {
      let message = String(cString: PQerrorMessage(opened)).trimmingNewlines
      PQfinish(opened)
      throw PostgresError(operation: "connect to PostgreSQL", message: message, connectionLost: true)
    }
    handle = opened
    // Notices are the server's small talk; what matters comes as an error.
    PQsetNoticeProcessor(handle, { _, _ in }, nil)
  }

  deinit { PQfinish(handle) }

  /// The process id of the backend, as `pg_stat_activity` shows it.
  public var backendPID: Int32 { PQbackendPID(handle) }
  /// E.g. 150004 for 15.4.
  public var serverVersion: Int { Int(PQserverVersion(handle)) }
  /// Whether a transaction is open, be it failed.
  public var isInTransaction: Bool {
    let status = PQtransactionStatus(handle)
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE
  }
  public var isUsable: Bool { PQstatus(handle) == CONNECTION_OK }
  /// The host that was reached and its port, for logs.
  public var peer: String {
    let host = PQhost(handle).map { String(cString: $0) } ?? ""
    let port = PQport(handle).map { String(cString: $0) } ?? ""
    return "\(host):\(port)"
  }

  /// Runs SQL text of one or more statements by the simple protocol, without parameters; the last result is returned.
  @discardableResult
  public func execute(_ sql: String, operation: String) throws(PostgresError) -> QueryResult {
    guard PQsendQuery(handle, sql) == 1 else { throw failure(operation) }
    return try finish(operation)
  }

  /// Runs one statement with parameters.
  @discardableResult
  public func query(
    _ sql: String, _ parameters: Parameters = Parameters(), operation: String
  ) throws(PostgresError) -> QueryResult {
    try send(Statement(sql, parameters, operation: operation))
    return try finish(operation)
  }

  /// Runs several statements in one flight: all are sent before the first answer is awaited (libpq's pipeline mode).
  /// At the first failure the server skips the rest, and that failure is thrown.
  @discardableResult
  public func pipeline(_ statements: [Statement]) throws(PostgresError) -> [QueryResult] {
    guard PQenterPipelineMode(handle) == 1 else { throw failure("enter pipeline mode") }
    for statement in statements { try send(statement) }
    guard PQpipelineSync(handle) == 1 else { throw failure("end a pipeline") }
    var results: [QueryResult] = []
    var firstFailure: PostgresError?
    for statement in statements {
      do throws(PostgresError) {
        results.append(try finish(statement.operation))
      } catch {
        if error.connectionLost { throw error }
        if firstFailure == nil { firstFailure = error }
      }
    }
    do throws(PostgresError) {
      try readSync()
    } catch {
      firstFailure?.connectionLost = true
      throw firstFailure ?? error
    }
    PQexitPipelineMode(handle)
    if let firstFailure { throw firstFailure }
    return results
  }

  /// Sends one statement without awaiting the answer.
  private func send(_ statement: Statement) throws(PostgresError) {
    let parameters = statement.parameters
    let ranges = parameters.ranges
    let sent = parameters.bytes.withUnsafeBytes { raw -> Int32 in
      let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
      // An empty value still needs an address, for libpq takes a null pointer as NULL.
      let empty: StaticString = ""
      let emptyAddress = UnsafeRawPointer(empty.utf8Start).assumingMemoryBound(to: CChar.self)
      let values: [UnsafePointer<CChar>?] = ranges.map { range in
        guard let range else { return nil }
        return base.map { $0 + range.lowerBound } ?? emptyAddress
      }
      let lengths = ranges.map { Int32($0?.count ?? 0) }
      let formats = [Int32](repeating: 1, count: parameters.count)
      return PQsendQueryParams(
        handle, statement.sql, Int32(parameters.count), parameters.types, values, lengths, formats, 0)
    }
    guard sent == 1 else { throw failure(statement.operation) }
  }

  /// Reads the results of one statement up to its end.
  func finish(_ operation: String) throws(PostgresError) -> QueryResult {
    var last: QueryResult?
    var firstFailure: PostgresError?
    while let result = try nextResult(operation) {
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
        last = QueryResult(result)
      case PGRES_PIPELINE_ABORTED:
        firstFailure = firstFailure ?? PostgresError(operation: operation, message: "skipped after a failure")
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        throw PostgresError(operation: operation, message: "unexpected COPY", connectionLost: true)
      default:
        firstFailure = firstFailure ?? failure(operation, result)
      }
    }
    if var firstFailure {
      // A server that ends a session says why, and only then is the connection gone.
      firstFailure.connectionLost = firstFailure.connectionLost || !isUsable
      throw firstFailure
    }
    guard let last else { throw failure(operation) }
    return last
  }

  private func readSync() throws(PostgresError) {
    guard let result = try nextResult("end a pipeline") else { throw failure("end a pipeline") }
    defer { PQclear(result) }
    guard PQresultStatus(result) == PGRES_PIPELINE_SYNC else { throw failure("end a pipeline") }
  }

  /// The next result, or nil at the end of a statement's results. Reports a stall while it waits.
  func nextResult(_ operation: String) throws(PostgresError) -> OpaquePointer? {
    // Where the connection breaks, what the server said last is among the results, and then that it broke.
    guard flush() else { return PQgetResult(handle) }
    while PQisBusy(handle) == 1 {
      guard let events = awaitSocket(POLLIN) else { throw failure(operation) }
      if events != 0 && PQconsumeInput(handle) == 0 { break }
    }
    return PQgetResult(handle)
  }

  /// Hands the kernel all that libpq has gathered, reading what the server says meanwhile, so that neither side waits
  /// for the other. Returns false when the connection broke.
  func flush() -> Bool {
    while true {
      switch PQflush(handle) {
      case 0: return true
      case 1: break
      default: return false
      }
      guard let events = awaitSocket(POLLIN | POLLOUT) else { return false }
      if events & ~Int16(POLLOUT) != 0 && PQconsumeInput(handle) == 0 { return false }
    }
  }

  /// Waits until the socket is ready, or a stall was reported; returns what it is ready for, nil on a failure.
  private func awaitSocket(_ events: Int32) -> Int16? {
    var descriptor = pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0)
    let ready = poll(&descriptor, 1, onStall == nil ? -1 : stallAfterMs)
    if ready == 0 { onStall?(backendPID) }
    if ready < 0 && errno != EINTR { return nil }
    return ready > 0 ? descriptor.revents : 0
  }

  /// The connection's own last failure.
  func failure(_ operation: String) -> PostgresError {
    let message = String(cString: PQerrorMessage(handle)).trimmingNewlines
    return PostgresError(
      operation: operation, message: message.isEmpty ? "the connection broke" : message, connectionLost: true)
  }

  /// What the server said in an error result.
  func failure(_ operation: String, _ result: OpaquePointer) -> PostgresError {
    func field(_ code: UnicodeScalar) -> String? {
      PQresultErrorField(result, Int32(code.value)).map { String(cString: $0) }
    }
    let lost = PQstatus(handle) != CONNECTION_OK
    // Codes as in postgres_ext.h (PG_DIAG_...).
    return PostgresError(
      operation: operation, sqlState: field("C").map { SQLState($0) },
      message: field("M") ?? String(cString: PQresultErrorMessage(result)).trimmingNewlines,
      detail: field("D"), hint: field("H"), constraint: field("n"), context: field("W"), connectionLost: lost)
  }
}

/// One statement of a pipeline.
public struct Statement: Sendable {
  public var sql: String
  public var parameters: Parameters
  /// What it does, for errors.
  public var operation: String

  public init(_ sql: String, _ parameters: Parameters = Parameters(), operation: String) {
    self.sql = sql
    self.parameters = parameters
    self.operation = operation
  }
}
