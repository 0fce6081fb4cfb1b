import Foundation
import TestSupport

/// Synthetic events as JSON, made by `telemetry-worker generate`, and the order in which they are produced.
struct EventSet: Sendable {
  /// One event a line.
  private let text: Data
  /// Where each line begins, and behind the last one the end.
  private let starts: [Int]
  /// Which event each record is.
  let sequence: [Int]

  /// How many different events there are.
  var count: Int { starts.count - 1 }

  /// A redelivery comes at most so many records after the event.
  private static let redeliveryReach = 50_000
  /// Every event begins with `{"id":"` and the 36 characters of a UUID.
  private static let id = 7..<43

  /// Events of a mix; they end now.
  init(_ mix: Mix, events: Int, seed: UInt64) throws {
    try self.init(events: events, spanSeconds: mix.spanSeconds(events: events), seed: seed) { count in
      let order = mix == .wide ? Self.scattered(count) : Array(0..<count)
      return Self.redelivering(order, share: mix.redeliveries, seed: seed)
    }
  }

  /// - Parameters:
  ///   - start: The earliest event time, RFC 3339; nil lets the span end now.
  ///   - order: Which event each record is, of that many.
  init(
    events: Int, spanSeconds: Int, start: String? = nil, seed: UInt64,
    order: (Int) -> [Int] = { Array(0..<$0) }
  ) throws {
    text = try Self.generate(events: events, spanSeconds: spanSeconds, start: start, seed: seed)
    starts = Self.lineStarts(text)
    sequence = order(starts.count - 1)
    guard count == events else { throw BenchFailure("generate made \(count) events instead of \(events)") }
  }

  /// The id and the JSON of each record in turn; valid during the call.
  func forEachRecord(
    _ records: Range<Int>,
    _ body: (_ id: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws -> Void
  ) rethrows {
    try text.withUnsafeBytes { bytes in
      for record in records {
        let event = sequence[record]
        let line = UnsafeRawBufferPointer(rebasing: bytes[starts[event]..<starts[event + 1] - 1])
        try body(UnsafeRawBufferPointer(rebasing: line[Self.id]), line)
      }
    }
  }

  // MARK: The order

  /// Every stretch of the order holds events of the whole range, evenly: steps of the golden section.
  private static func scattered(_ count: Int) -> [Int] {
    var step = max(1, Int(Double(count) * 0.618_033_988_75))
    while greatestCommonDivisor(step, count) > 1 { step += 1 }
    return (0..<count).map { $0 * step % count }
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
  }

  private static func redelivering(_ order: [Int], share: Double, seed: UInt64) -> [Int] {
    guard share > 0 else { return order }
    var random = SeededGenerator(seed: seed)
    var sequence: [Int] = []
    sequence.reserveCapacity(order.count + Int(share * 1.2 * Double(order.count)))
    for event in order {
      sequence.append(event)
      guard Double.random(in: 0..<1, using: &random) < share else { continue }
      sequence.append(
        sequence[.random(in: max(0, sequence.count - redeliveryReach)..<sequence.count, using: &random)])
    }
    return sequence
  }

  // MARK: The events

  private static func generate(events: Int, spanSeconds: Int, start: String?, seed: UInt64) throws -> Data {
    let file = FileManager.default.temporaryDirectory.appending(path: "bench-events-\(UUID().uuidString)")
    _ = FileManager.default.createFile(atPath: file.path, contents: nil)
    // Mapped memory outlives the file's name.
    defer { try? FileManager.default.removeItem(at: file) }
    let generator = Process()
    generator.executableURL = WorkerProcess.program
    generator.arguments =
      [
        "generate", "--stdout", "--count", "\(events)", "--span", "\(spanSeconds)s", "--seed", "\(seed)",
        "--late", "0", "--duplicates", "0",
      ] + (start.map { ["--start", $0] } ?? [])
    generator.environment = [:]
    generator.standardOutput = try FileHandle(forWritingTo: file)
    generator.standardError = FileHandle.nullDevice
    try generator.run()
    generator.waitUntilExit()
    guard generator.terminationStatus == 0 else {
      throw BenchFailure("\(WorkerProcess.program.path) generate ended with \(generator.terminationStatus)")
    }
    return try Data(contentsOf: file, options: .alwaysMapped)
  }

  private static func lineStarts(_ text: Data) -> [Int] {
    text.withUnsafeBytes { bytes in
      var starts = [0]
      while starts[starts.count - 1] < bytes.count,
        let found = memchr(
          bytes.baseAddress! + starts[starts.count - 1], 10, bytes.count - starts[starts.count - 1])
      {
        starts.append(UnsafeRawPointer(found) - bytes.baseAddress! + 1)
      }
      return starts
    }
  }
}
