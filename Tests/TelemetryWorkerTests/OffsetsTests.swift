import Foundation
import Kafka
import TestSupport
import Testing

@Suite("offsets reset", .timeLimit(.minutes(4)))
struct OffsetsTests {
  private struct Plan: Decodable {
    var group: String
    var topic: String
    var partitions: [Partition]
    var workers: [String]
    var executed: Bool

    struct Partition: Decodable {
      var partition: Int
      var from: Int?
      var to: Int
      var low: Int
      var high: Int
      var again: Int
      var skipped: Int
      var gone: Int
    }
  }

  private func reset(_ stage: WorkerStage, _ arguments: String...) throws -> Execution {
    try execute(
      ["offsets", "reset", "--topic", stage.topic] + arguments, environment: stage.environment)
  }

  private func plan(_ execution: Execution) throws -> Plan {
    #expect(execution.code == 0, "\(execution.errors)")
    return try JSONDecoder().decode(Plan.self, from: execution.output)
  }

  private func rows(_ stage: WorkerStage) throws -> [[String?]] {
    try stage.database.rows(
      """
      SELECT consumer_group, topic, partition, next_offset, start_offset, updated_at
      FROM @.chat_telemetry_offsets ORDER BY 1, 2, 3
      """)
  }

  private func positions(_ stage: WorkerStage) throws -> [[String?]] {
    try rows(stage).map { Array($0[2...4]) }
  }

  /// Two partitions of 40 and 10 records, stored up to 30 and 10.
  private func stage() throws -> WorkerStage {
    let stage = try WorkerStage(partitions: 2)
    try stage.produce(events: 40, seed: 1, partition: 0)
    try stage.produce(events: 10, seed: 2, partition: 1)
    try insert(stage, [0: 30, 1: 10])
    return stage
  }

  private func insert(_ stage: WorkerStage, _ positions: [Int: Int], cluster: String = "NULL") throws {
    for (partition, next) in positions {
      try stage.database.execute(
        """
        INSERT INTO @.chat_telemetry_offsets (consumer_group, topic, partition, next_offset, start_offset, cluster_id)
        VALUES ('test', '\(stage.topic)', \(partition), \(next), \(min(next, 5)), \(cluster))
        """)
    }
  }

  @Test("Without --execute it says what would be read again and skipped, and changes nothing")
  func dryRun() throws {
    let stage = try stage()
    let before = try rows(stage)
    let earliest = try plan(reset(stage, "--to", "earliest", "--json"))
    #expect(!earliest.executed && earliest.group == "test" && earliest.workers.isEmpty)
    #expect(earliest.partitions.map(\.from) == [30, 10] && earliest.partitions.map(\.to) == [0, 0])
    #expect(earliest.partitions.map(\.high) == [40, 10] && earliest.partitions.map(\.low) == [0, 0])
    #expect(earliest.partitions.map(\.again) == [30, 10] && earliest.partitions.map(\.skipped) == [0, 0])
    let latest = try plan(reset(stage, "--to", "latest", "--json"))
    #expect(latest.partitions.map(\.to) == [40, 10] && latest.partitions.map(\.skipped) == [10, 0])
    #expect(latest.partitions.map(\.again) == [0, 0])
    let other = try plan(reset(stage, "--to", "earliest", "--group", "new", "--json"))
    #expect(other.group == "new" && other.partitions.map(\.from) == [nil, nil])

    let text = try reset(stage, "--to", "earliest")
    let shown = String(decoding: text.output, as: UTF8.self)
    #expect(shown.contains("40 offsets are read again") && shown.contains("say --execute"), "\(shown)")
    let skipping = String(decoding: try reset(stage, "--to", "latest").output, as: UTF8.self)
    #expect(skipping.contains("10 offsets are skipped: this group will never read them"), "\(skipping)")
    #expect(try rows(stage) == before)
  }

  @Test("With --execute it sets the positions named and no other, and verify finds nothing odd in them")
  func execution() throws {
    let stage = try stage()
    let one = try plan(reset(stage, "--partition", "0", "--to", "3", "--execute", "--json"))
    #expect(one.executed && one.partitions.map(\.partition) == [0] && one.partitions[0].again == 27)
    #expect(try positions(stage) == [["0", "3", "3"], ["1", "10", "5"]])
    let again = try reset(stage, "--partition", "0", "--to", "3", "--execute")
    #expect(again.code == 0 && String(decoding: again.output, as: UTF8.self).contains("there already"))
    _ = try plan(reset(stage, "--to", "latest", "--execute", "--json"))
    #expect(try positions(stage) == [["0", "40", "3"], ["1", "10", "5"]])
    #expect(try execute(["verify"], environment: stage.environment).code == 0)
    // A group that has read nothing gets positions too.
    _ = try plan(reset(stage, "--to", "7", "--group", "new", "--execute", "--json"))
    #expect(try rows(stage).filter { $0[0] == "new" }.map { $0[3] } == ["7", "7"])
    #expect(try positions(stage).suffix(2) == [["0", "40", "3"], ["1", "10", "5"]])
  }

  /// The mock cluster knows no offsets by time: it answers as a broker does that has no record so young.
  @Test(
    "A time without a record stamped then or later is the end", arguments: ["1h", "2026-01-31T12:00:00Z"])
  func time(place: String) throws {
    let stage = try stage()
    #expect(try plan(reset(stage, "--to", place, "--json")).partitions.map(\.to) == [40, 10])
  }

  @Test(
    "An offset that a partition does not have is refused with the two that bound it, and nothing is changed")
  func outside() throws {
    let stage = try stage()
    let before = try rows(stage)
    for place in ["41", "11"] {
      let result = try reset(stage, "--to", place, "--execute")
      #expect(
        result.code == 1 && result.errors.contains("its oldest offset is 0, its end"), "\(result.errors)")
    }
    #expect(try rows(stage) == before)
  }

  @Test(
    "A position past the end, of a topic made anew, is set like any other, and the records count as new ones")
  func madeAnew() throws {
    let stage = try WorkerStage(partitions: 1)
    try stage.produce(events: 10, seed: 3)
    try insert(stage, [0: 500])
    let earliest = try plan(reset(stage, "--to", "earliest", "--execute", "--json"))
    #expect(earliest.partitions.map(\.again) == [0] && earliest.partitions.map(\.skipped) == [0])
    #expect(try positions(stage) == [["0", "0", "0"]])
    try stage.database.execute("UPDATE @.chat_telemetry_offsets SET next_offset = 500")
    let text = String(decoding: try reset(stage, "--to", "4").output, as: UTF8.self)
    #expect(text.contains("made anew") && text.contains("4 offsets are skipped"), "\(text)")
  }

  @Test("Positions of another cluster, unknown partitions and a part of an unread topic are refused")
  func refused() throws {
    let stage = try stage()
    let unknown = try reset(stage, "--to", "earliest", "--partition", "2", "--execute")
    #expect(unknown.code == 1 && unknown.errors.contains("has no partition 2: it has 2"))
    let part = try reset(stage, "--to", "earliest", "--partition", "1", "--group", "new", "--execute")
    #expect(part.code == 1 && part.errors.contains("leave --partition out"))
    try stage.database.execute("UPDATE @.chat_telemetry_offsets SET cluster_id = 'elsewhere'")
    let before = try rows(stage)
    let other = try reset(stage, "--to", "earliest", "--execute")
    #expect(other.code == 1 && other.errors.contains("elsewhere"))
    #expect(try rows(stage) == before)
  }

  @Test("While a worker runs it refuses; once stopped, a replay from the beginning adds nothing")
  func replay() async throws {
    let stage = try WorkerStage(partitions: 2)
    try stage.produce(events: 150, seed: 4)
    try stage.produce("broken", partition: 0)
    try stage.flush()
    try await stage.withWorker { worker in
      try await worker.scrape(until: "all is stored") {
        $0.sum("consumer_committed_offset") == 151 && $0["coordinator_leader"] == 1
      }
      let refused = try reset(stage, "--to", "earliest", "--execute")
      #expect(refused.code == 1 && refused.errors.contains("is at work"), "\(refused.errors)")
      let shown = String(decoding: try reset(stage, "--to", "earliest").output, as: UTF8.self)
      #expect(shown.contains("--execute refuses until it has stopped"))
    }
    let stored = try stage.database.rows("SELECT created_at, id FROM @.chat_telemetry ORDER BY 1, 2")
    #expect(stored.count == 150)
    _ = try plan(reset(stage, "--to", "earliest", "--execute", "--json"))
    #expect(try stage.database.number("SELECT sum(next_offset) FROM @.chat_telemetry_offsets") == 0)
    try await stage.withWorker { worker in
      try await worker.scrape(until: "all is read again") { $0.sum("consumer_committed_offset") == 151 }
      #expect(
        try await worker.scrape()["events_processed_total", ["topic": stage.topic, "outcome": "duplicate"]]
          == 150)
    }
    #expect(try stage.database.rows("SELECT created_at, id FROM @.chat_telemetry ORDER BY 1, 2") == stored)
    #expect(try stage.database.number("SELECT count(*) FROM @.chat_telemetry_dead_letters") == 1)
    #expect(try execute(["verify"], environment: stage.environment).code == 0)
  }

  @Test(
    "What makes no sense is wrong usage",
    arguments: [
      ["--to", "soon"], ["--to", "-1"], ["--to", "0", "--partition", "-1"], [],
      ["--to", "0", "--partition", "1", "--partition", "1"],
    ])
  func usage(arguments: [String]) throws {
    let result = try execute(["offsets", "reset", "--topic", "t"] + arguments)
    #expect(result.code == 64, "\(result.errors)")
  }
}
