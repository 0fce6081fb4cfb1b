import Foundation
import Kafka
import Postgres
import Store
import TestSupport
import Testing

/// What a backfill prints with --json.
struct BackfillAnswer: Decodable, Equatable {
  struct Partition: Decodable, Equatable {
    var partition: Int
    var startOffset: Int
    var endOffset: Int
    var nextOffset: Int
    var remaining: Int
    var missing: Int
  }
  var job: String
  var state: String
  var stored: Int
  var duplicate: Int
  var deadLetter: Int
  var skipped: Int
  var outOfRange: Int
  var missing: Int
  var remaining: Int
  var partitions: [Partition]

  /// Offsets that were done in one way or another.
  var done: Int { stored + duplicate + deadLetter + skipped + outOfRange + missing }
}

extension Stage {
  /// Starts a backfill as a process. It logs errors only, so that what it says is the answer.
  func startBackfill(_ arguments: [String], _ variables: [String: String] = [:]) throws -> WorkerProcess {
    var variables = ["TELEMETRY_LOG_LEVEL": "error"].merging(variables) { $1 }
    variables["TELEMETRY_KAFKA_PROPERTIES"] = "fetch.wait.max.ms=10"
    // Many commits, for the tests that end it between two.
    variables["TELEMETRY_INGEST_BATCH_EVENTS"] = "300"
    return try start(variables, arguments: ["backfill"] + arguments)
  }

  /// Runs a backfill to its end, which must come with this exit code; returns all that it said.
  @discardableResult
  func backfill(
    _ arguments: [String] = [], exits code: Int32 = 0, _ location: SourceLocation = #_sourceLocation
  ) async throws -> String {
    let process = try startBackfill(arguments)
    let found = try await process.end()
    #expect(found == code, "\(process.errors)", sourceLocation: location)
    return process.errors
  }

  /// Runs a backfill to its end and reads its answer.
  func replayed(
    _ arguments: String..., location: SourceLocation = #_sourceLocation
  ) async throws -> BackfillAnswer {
    try Self.answer(try await backfill(arguments + ["--json"], location))
  }

  static func answer(_ said: String) throws -> BackfillAnswer {
    let start = try #require(said.firstIndex(of: "{"), "\(said)")
    let end = try #require(said.lastIndex(of: "}"), "\(said)")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(BackfillAnswer.self, from: Data(said[start...end].utf8))
  }

  /// Offsets that all jobs have done so far.
  func backfilled() throws -> Int64 {
    try database.number(
      """
      SELECT coalesce(sum(next_offset - start_offset), 0) FROM @.chat_telemetry_offsets
      WHERE consumer_group LIKE 'backfill:%'
      """)
  }

  /// Every row of the tables that only new events may change, with the times at which they were changed.
  func measures() throws -> [[String?]] {
    try [
      "chat_telemetry", "chat_telemetry_rollups", "chat_telemetry_domain_rollups",
      "chat_telemetry_model_rollups", "chat_telemetry_totals", "chat_telemetry_sketches",
      "chat_telemetry_summary_deltas", "chat_telemetry_sketch_deltas", "chat_telemetry_window_deltas",
      "chat_telemetry_day_sketch_deltas",
      "chat_telemetry_pending_batches", "chat_telemetry_dead_letters",
    ].flatMap { try database.rows("SELECT '\($0)', t::text FROM @.\($0) AS t ORDER BY 2") }
  }

  /// Of the live group, in the order of the partitions.
  func livePositions() throws -> [[String?]] {
    try database.rows(
      """
      SELECT partition, next_offset FROM @.chat_telemetry_offsets
      WHERE consumer_group = 'telemetry-worker' ORDER BY 1
      """)
  }
}
