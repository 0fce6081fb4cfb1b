import Postgres
import Store
import Telemetry
import TestSupport
import Testing

@Suite("Positions")
struct PositionTests {
  private let stage: Stage

  init() throws { stage = try Stage() }

  private func name(_ topic: String, _ partition: Int32) -> TopicPartitionName {
    TopicPartitionName(topic: topic, partition: partition)
  }

  private func positions(_ group: String) throws -> Positions {
    Positions(connection: try stage.database.connect(), schema: stage.database.schema, group: group)
  }

  @Test("First positions are inserted where there are none; what is there stays as it is")
  func insertsStarts() throws {
    let positions = try positions("a")
    try positions.insertStarts([name("t", 0): 5, name("t", 1): 6], clusterID: "c1")
    try positions.insertStarts([name("t", 1): 99, name("t", 2): 7], clusterID: nil)
    let loaded = try positions.load(topics: ["t"])
    #expect(loaded.mapValues(\.nextOffset) == [name("t", 0): 5, name("t", 1): 6, name("t", 2): 7])
    #expect(loaded.mapValues(\.clusterID) == [name("t", 0): "c1", name("t", 1): "c1", name("t", 2): nil])
    try positions.insertStarts([:], clusterID: nil)
    #expect(
      try stage.database.rows(
        "SELECT partition, next_offset = start_offset FROM @.chat_telemetry_offsets ORDER BY 1")
        == [["0", "t"], ["1", "t"], ["2", "t"]])
  }

  @Test("Each group and topic has positions of its own")
  func apart() throws {
    try positions("a").insertStarts([name("t", 0): 1, name("u", 0): 2, name("it's", 0): 4], clusterID: nil)
    try positions("b").insertStarts([name("t", 0): 3], clusterID: nil)
    #expect(try positions("a").load(topics: ["t"]).mapValues(\.nextOffset) == [name("t", 0): 1])
    #expect(
      try positions("a").load(topics: ["u", "it's", "none"]).mapValues(\.nextOffset)
        == [name("u", 0): 2, name("it's", 0): 4])
    #expect(try positions("b").load(topics: ["t", "u"]).mapValues(\.nextOffset) == [name("t", 0): 3])
    #expect(try positions("a").load(topics: []) == [:])
  }

  @Test("Two workers that insert the same first positions at once agree on one of them")
  func concurrently() async throws {
    let workers = (0..<4).map { number in
      Background { [stage] in
        let positions = Positions(
          connection: try stage.database.connect(), schema: stage.database.schema, group: "a")
        let starts = (0..<20).map { (TopicPartitionName(topic: "t", partition: $0), Int64(number)) }
        try positions.insertStarts(Dictionary(uniqueKeysWithValues: starts), clusterID: nil)
        return try positions.load(topics: ["t"]).mapValues(\.nextOffset)
      }
    }
    var answers: Set<[TopicPartitionName: Int64]> = []
    for worker in workers { answers.insert(try await worker.value) }
    #expect(answers.count == 1)
    #expect(answers.first?.count == 20)
  }
}
