import Telemetry
import Testing

@Suite struct EventKeySetTests {
  /// Keys of which many differ in one part only, and the ends of every range.
  private func awkwardKeys() -> [EventKey] {
    let times: [Int64] = [.min, -1, 0, 1, .max]
    let halves: [UInt64] = [0, 1, 2, 1 << 32, 1 << 63, .max]
    return times.flatMap { time in
      halves.flatMap { high in halves.map { EventKey(createdAt: time, idHigh: high, idLow: $0) } }
    }
  }

  @Test("An event key set agrees with the standard library's set, while it grows and after it was emptied")
  func agreesWithSet() {
    var numbers = RepeatableNumbers(seed: 1)
    var set = EventKeySet()
    for round in 0..<3 {
      var truth = Set<EventKey>()
      let random = (0..<20_000).map { _ in
        EventKey(
          createdAt: .random(in: -50...50, using: &numbers), idHigh: .random(in: 0...20, using: &numbers),
          idLow: .random(in: 0...20, using: &numbers))
      }
      for key in awkwardKeys() + random {
        let inserted = set.insert(key)
        #expect(inserted == truth.insert(key).inserted)
      }
      let count = set.count
      #expect(count == truth.count)
      for time in Int64(-55)...55 {
        for half in UInt64(0)...22 {
          let key = EventKey(createdAt: time, idHigh: half, idLow: 22 - half)
          let contained = set.contains(key)
          #expect(contained == truth.contains(key))
        }
      }
      set.removeAll(keepingCapacity: round == 0)
      let left = awkwardKeys().filter { set.contains($0) }
      #expect(left.isEmpty)
    }
  }

  @Test("Recent keys hold the last generation for certain, and never more than two")
  func recentKeysAreBounded() {
    let keys = (0..<1000).map { EventKey(createdAt: 7, idHigh: 0, idLow: UInt64($0)) }
    var recent = RecentKeys(generationSize: 100)
    for (index, key) in keys.enumerated() {
      recent.insert(key)
      let count = recent.count
      #expect(count <= 200)
      let lastOnes = keys[max(0, index - 99)...index].filter { recent.contains($0) }
      #expect(lastOnes.count == min(100, index + 1))
    }
    let held = keys.filter { recent.contains($0) }
    let count = recent.count
    #expect(held.count == count)
    #expect(held.first != keys[0])
  }

  @Test("Recent keys never claim a key they were not given, and none once they are emptied")
  func recentKeysClaimNothingElse() {
    let batch = EventBatch()
    for id in UInt64(0)..<10 { batch.take(SampleEvent(5, id: id)) }
    var recent = RecentKeys()
    recent.insert(rows: [1, 3], of: batch)
    let some = (0..<10).filter { recent.contains(batch.key($0)) }
    #expect(some == [1, 3])
    recent.insert(contentsOf: batch)
    let all = (0..<11).filter { recent.contains(SampleEvent(5, id: $0).key) }
    #expect(all == Array(0..<10))
    recent.removeAll()
    let none = (0..<10).filter { recent.contains(batch.key($0)) }
    #expect(none.isEmpty)
  }
}
