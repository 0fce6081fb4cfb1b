import CLibPQ

extension Connection {
  /// Copies rows in binary format into a table.
  ///
  /// `statement` must be a `COPY … FROM STDIN (FORMAT binary)`. `body` sends the rows, each as its field count and its
  /// fields; the header and the trailer are added here. Returns the number of rows copied.
  @discardableResult
  public func copyIn(
    _ statement: String, operation: String, body: (inout CopyWriter) -> Void
  ) throws(PostgresError) -> Int {
    guard PQsendQuery(handle, statement) == 1 else { throw failure(operation) }
    guard let started = try nextResult(operation) else { throw failure(operation) }
    guard PQresultStatus(started) == PGRES_COPY_IN else {
      var refusal = failure(operation, started)
      PQclear(started)
      while let rest = try nextResult(operation) { PQclear(rest) }
      refusal.connectionLost = refusal.connectionLost || !isUsable
      throw refusal
    }
    PQclear(started)
    // A server that waits for a lock takes no more rows: sending must not block where nobody sees the stall.
    PQsetnonblocking(handle, 1)
    defer { PQsetnonblocking(handle, 0) }
    var writer = CopyWriter(self)
    writer.begin()
    body(&writer)
    writer.end()
    // A failed send still has its reason waiting among the results.
    if !writer.failed { PQputCopyEnd(handle, nil) }
    return try finish(operation).affected
  }
}

/// Sends the rows of one COPY. A send that fails is remembered; the failure surfaces when the COPY ends.
///
/// Small pieces are gathered, for libpq writes to the socket every 8 KiB at the latest; pieces that stand one behind
/// the other in memory are joined without being copied.
public struct CopyWriter: ~Copyable {
  private let connection: Connection
  private var gathered: [UInt8] = []
  /// The last piece that was taken and neither gathered nor sent.
  private var piece = UnsafeRawBufferPointer(start: nil, count: 0)
  private(set) var failed = false

  private static let gatheredSize = 1 << 16
  private static let sendSize = 1 << 18

  init(_ connection: Connection) {
    self.connection = connection
    gathered.reserveCapacity(2 * Self.gatheredSize)
  }

  /// Whole encoded rows, or parts of one, in order. The bytes must stay where they are until the COPY has ended.
  public mutating func send(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return }
    if let before = piece.baseAddress, before + piece.count == start {
      piece = UnsafeRawBufferPointer(start: before, count: piece.count + bytes.count)
    } else {
      takePiece()
      piece = bytes
    }
  }

  /// The same for bytes that need not stay: a whole COPY then takes no more memory than one row.
  public mutating func send(copyOf bytes: UnsafeRawBufferPointer) {
    takePiece()
    gather(bytes)
  }

  private mutating func takePiece() {
    if piece.count >= Self.gatheredSize {
      sendGathered()
      put(piece)
    } else {
      gather(piece)
    }
    piece = UnsafeRawBufferPointer(start: nil, count: 0)
  }

  private mutating func gather(_ bytes: UnsafeRawBufferPointer) {
    gathered.append(contentsOf: bytes)
    if gathered.count >= Self.gatheredSize { sendGathered() }
  }

  private mutating func sendGathered() {
    gathered.withUnsafeBytes { put($0) }
    gathered.removeAll(keepingCapacity: true)
  }

  private mutating func put(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes[...]
    while !rest.isEmpty && !failed {
      let next = UnsafeRawBufferPointer(rebasing: rest.prefix(Self.sendSize))
      let start = next.baseAddress!.assumingMemoryBound(to: CChar.self)
      failed = PQputCopyData(connection.handle, start, Int32(next.count)) != 1 || !connection.flush()
      rest = rest.dropFirst(next.count)
    }
  }

  /// The signature, no flags, no header extension (PostgreSQL documentation of COPY, "Binary Format").
  mutating func begin() {
    gathered += [80, 71, 67, 79, 80, 89, 10, 255, 13, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0]
  }

  mutating func end() {
    takePiece()
    gathered += [255, 255]
    sendGathered()
  }
}
