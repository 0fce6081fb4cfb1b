import Telemetry
import Testing

@Suite struct EventBatchTests {
  private let day: Int64 = 86_400_000_000

  @Test("A repeat within the batch is refused, and leaves neither its row nor its record behind")
  func refusesRepeats() {
    let batch = EventBatch()
    #expect(batch.take(SampleEvent(10, id: 1, domain: "a", model: "m"), key: "k", headers: [([1], [2])]))
    let bytes = batch.byteCount
    let rowBytes = batch.rows.count
    #expect(!batch.take(SampleEvent(10, id: 1, domain: "b", model: "n"), key: "k", headers: [([1], [2])]))
    #expect(batch.byteCount == bytes)
    #expect(batch.rows.count == rowBytes)
    #expect(batch.count == 1)
    #expect(batch.take(SampleEvent(11, id: 1)))
    #expect(batch.take(SampleEvent(10, id: 2)))
    #expect(batch.count == 3)
  }

  @Test("Rows keep their bytes and texts while the batch grows")
  func rowsKeepTheirBytes() {
    let batch = EventBatch()
    for id in UInt64(0)..<3000 {
      batch.take(
        SampleEvent(
          0, id: id, domain: id % 7 == 0 ? nil : "domain-\(id % 1000).example", model: "model-\(id % 11)"))
    }
    for row in 0..<3000 {
      let domain = row % 7 == 0 ? nil : "domain-\(row % 1000).example"
      #expect(String(decoding: batch.row(row), as: UTF8.self) == (domain ?? "") + "model-\(row % 11)")
      #expect(batch.strings.string(batch.domain(row)) == domain)
      #expect(batch.strings.string(batch.model(row)) == "model-\(row % 11)")
    }
  }

  @Test(
    "Equal texts have one number whether domain or model; blank, null and the word unknown have their own")
  func textsHaveOneNumber() {
    let batch = EventBatch()
    batch.take(SampleEvent(0, id: 0, domain: nil, model: ""))
    batch.take(SampleEvent(0, id: 1, domain: "unknown", model: "unknown"))
    batch.take(SampleEvent(0, id: 2, domain: "same", model: "same"))
    batch.take(SampleEvent(0, id: 3, domain: "e\u{301}", model: "\u{E9}"))
    #expect(batch.domain(0) == StringTable.null)
    #expect(batch.model(0) == StringTable.blank)
    #expect(batch.domain(1) == StringTable.unknown)
    #expect(batch.model(1) == StringTable.unknown)
    #expect(batch.domain(2) == batch.model(2))
    #expect(batch.domain(3) != batch.model(3))
    #expect(batch.strings.string(StringTable.null) == nil)
    #expect(batch.strings.string(StringTable.blank) == "")
    #expect(batch.strings.string(StringTable.unknown) == "unknown")
  }

  @Test("The days are those of UTC, before 1970 as after, ascending")
  func daysAreUTC() {
    let batch = EventBatch()
    for (id, time) in [day, day - 1, 0, -1, -day, -day - 1, 5 * day].enumerated() {
      batch.take(SampleEvent(time, id: UInt64(id)))
    }
    #expect(batch.days == [-2, -1, 0, 1, 5])
    #expect(!batch.wouldExceed(maxDays: 5, for: 5 * day + 7))
    #expect(!batch.wouldExceed(maxDays: 5, for: -1))
    #expect(batch.wouldExceed(maxDays: 5, for: 2 * day))
    #expect(!batch.wouldExceed(maxDays: 6, for: 2 * day))
  }

  @Test("A rejected record becomes a dead letter with all that was known of it, and leaves no row")
  func rejects() {
    let batch = EventBatch()
    batch.take(SampleEvent(10, id: 1, domain: "a"))
    let rowBytes = batch.rows.count
    let sourceBytes = batch.sources.count
    let record = batch.retainSample(offset: 42, key: "k", payload: "[1]", headers: [(Array("h".utf8), nil)])
    batch.rows.append(byte: 1)
    batch.reject(Rejection(.notAnObject, "an array"), rowStart: rowBytes, source: record)
    #expect(batch.rows.count == rowBytes)
    #expect(batch.sources.count == sourceBytes)
    #expect(batch.count == 1)
    #expect(batch.byteCount > rowBytes + sourceBytes)
    #expect(
      batch.deadLetters == [
        DeadLetter(
          topic: "chat-telemetry", partition: 3, offset: 42, timestampMs: 1_700_000_000_000,
          key: Array("k".utf8), payload: Array("[1]".utf8), payloadCount: 3,
          headersJSON: #"[{"key":"h","value":null}]"#, reason: .notAnObject, detail: "an array", eventDay: nil
        )
      ])
  }

  @Test("A batch's bytes include what its dead letters hold")
  func countsDeadLetterBytes() {
    let batch = EventBatch()
    let payload = String(repeating: "x", count: 10_000)
    for offset in Int64(1)...3 {
      let record = batch.retainSample(offset: offset, payload: payload)
      batch.reject(Rejection(.invalidJSON, ""), rowStart: 0, source: record)
      #expect(batch.byteCount >= Int(offset) * 10_000)
    }
  }

  @Test(
    "A batch that keeps no sources has the rows and their coordinates, and only dead letters' bytes besides")
  func withoutSources() {
    let batch = EventBatch()
    batch.keepsSources = false
    for id in UInt64(0)..<50 {
      batch.take(
        SampleEvent(-1, id: id), offset: Int64(id), key: "key", payload: String(repeating: "x", count: 1_000))
    }
    #expect(batch.count == 50)
    #expect(batch.byteCount == batch.rows.count)
    #expect((0..<50).map { batch.source($0).offset } == Array(0..<50))
    let rejected = batch.retainSample(offset: 50, payload: "broken")
    batch.reject(Rejection(.invalidJSON, ""), rowStart: batch.rows.count, source: rejected)
    #expect(batch.deadLetters.map(\.payload) == [Array("broken".utf8)])
  }

  @Test("A row that the database refuses still becomes the dead letter of its own record")
  func deadLetterOfRow() {
    let batch = EventBatch()
    for id in UInt64(0)..<50 {
      batch.take(
        SampleEvent(-1, id: id), offset: Int64(id), key: id % 2 == 0 ? "key \(id)" : nil,
        payload: "payload \(id)")
    }
    for row in 0..<50 {
      let letter = batch.deadLetter(forRow: row, reason: .rejectedByDatabase, detail: "22P05")
      #expect(letter.offset == Int64(row))
      #expect(letter.payload == Array("payload \(row)".utf8))
      #expect(letter.key == (row % 2 == 0 ? Array("key \(row)".utf8) : nil))
      #expect(letter.headersJSON == nil)
      #expect(letter.eventDay == nil)
    }
    #expect(batch.deadLetter(forRow: 0, reason: .beforeRetention, detail: "").eventDay == -1)
  }

  @Test(
    "Sorted order is the order of the raw table's key: time, then the UUID byte by byte", arguments: 0..<6)
  func sortedOrder(kind: Int) {
    var numbers = RepeatableNumbers(seed: UInt64(kind))
    let batch = EventBatch()
    for index in 0..<2000 {
      let time: Int64 =
        switch kind {
        case 0: Int64(index)
        case 1: Int64(-index)
        case 2: .random(in: -5...5, using: &numbers)
        case 3: .random(in: -day...day, using: &numbers)
        case 4: 1_790_000_000_000_000 + Int64(index) * 109_000 + .random(in: 0...1_000_000, using: &numbers)
        default: .random(in: -4_000_000_000_000_000_000...4_000_000_000_000_000_000, using: &numbers)
        }
      batch.take(SampleEvent(time, id: numbers.next()))
    }
    func hex(_ number: UInt64) -> String {
      let digits = String(number, radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }
    let truth = (0..<2000).map { row in
      let key = batch.key(row)
      return (time: key.createdAt, uuid: hex(key.idHigh) + hex(key.idLow), row: row)
    }.sorted { ($0.time, $0.uuid) < ($1.time, $1.uuid) }
    #expect(batch.sortedOrder() == truth.map(\.row))
    batch.sortRows()
    #expect(batch.sortedOrder() == truth.map(\.row), "worked out ahead")
    // A row more, and what was worked out ahead no longer holds.
    batch.take(SampleEvent(.min, id: 0))
    #expect(batch.sortedOrder() == [2000] + truth.map(\.row))
  }

  @Test("Sorting copes with none and one")
  func sortsFew() {
    let batch = EventBatch()
    #expect(batch.sortedOrder() == [])
    batch.take(SampleEvent(1))
    #expect(batch.sortedOrder() == [0])
  }

  @Test("An emptied batch is like a new one, but for its partitions")
  func removeAll() {
    let batch = EventBatch()
    let partition = batch.partitionIndex(topic: "other", partition: 1)
    batch.take(SampleEvent(day, id: 1, domain: "a", model: "b"))
    batch.repairs[.nulCharacter] = 3
    batch.reject(
      Rejection(.invalidJSON, ""), rowStart: batch.rows.count, source: batch.retainSample(payload: "x"))
    #expect(!batch.isEmpty)
    batch.removeAll()
    #expect(batch.isEmpty)
    #expect(batch.byteCount == 0)
    #expect(batch.days == [])
    #expect(batch.deadLetters == [])
    #expect(batch.repairs == RepairCounts())
    #expect(batch.partitionIndex(topic: "other", partition: 1) == partition)
    #expect(batch.take(SampleEvent(day, id: 1, domain: "c", model: "d")))
    #expect(batch.strings.string(batch.domain(0)) == "c")
    #expect(batch.days == [1])
  }
}
