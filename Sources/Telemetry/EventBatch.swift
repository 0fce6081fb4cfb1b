/// A topic and one of its partitions.
public struct TopicPartitionName: Hashable, Sendable {
  public var topic: String
  public var partition: Int32

  public init(topic: String, partition: Int32) {
    self.topic = topic
    self.partition = partition
  }
}

/// Decoded events on their way to the database: their encoded rows, what the rollups need to know of them, where they
/// came from, and the records that cannot be stored.
///
/// A record is taken in three steps: its bytes go into `sources` (``retain(partitionIndex:offset:timestampMs:key:payload:headers:)``),
/// its row is encoded at the end of `rows`, and one of ``add(_:rowStart:source:)``, ``reject(_:rowStart:source:eventDay:)`` and
/// ``discard(rowStart:source:)`` says what becomes of it. The last two, and an `add` that finds a duplicate, take its bytes out again.
/// Where the batch keeps no sources, the first step can wait until the record is to be rejected; see
/// ``unretained(partitionIndex:offset:timestampMs:)``.
///
/// A row is known by its index, 0 ..< ``count``, which never changes until ``removeAll()``. Not thread-safe: one owner
/// at a time, who may hand the whole of it on.
public final class EventBatch {
  /// Rows in PostgreSQL's binary COPY format, one after the other.
  @exclusivity(unchecked) public var rows: ByteArena
  /// Keys, payloads and headers of the records that the rows came from.
  @exclusivity(unchecked) public var sources: ByteArena
  /// The texts that the rows' domains and models stand for.
  @exclusivity(unchecked) public private(set) var strings = StringTable()
  /// The partitions that records came from. Kept by ``removeAll()``, so that an index can be remembered.
  public private(set) var partitions: [TopicPartitionName] = []
  /// The UTC days that the rows touch, days since 1970-01-01, ascending.
  public private(set) var days: [Int32] = []
  /// The records that cannot be stored.
  public private(set) var deadLetters: [DeadLetter] = []
  /// Whether the bytes of the records stay in `sources` beside their rows. Only a row that the database refuses or that
  /// comes for a dropped day needs them again, which is rare, and they take as much memory as the rows. To be changed
  /// while the batch is empty.
  public var keepsSources = true {
    willSet { precondition(count == 0, "a batch of \(count) rows cannot change whether it keeps sources") }
  }
  /// What was mended in the events of this batch.
  public var repairs = RepairCounts()

  // One owner at a time, and no method calls out while it has one of these in hand: checking each access at run time
  // took a tenth of the time that adding an event takes.
  @exclusivity(unchecked) private(set) var events = ContiguousArray<BatchRow>()
  @exclusivity(unchecked) private var rowRanges = ContiguousArray<ByteRange>()
  @exclusivity(unchecked) private var records = ContiguousArray<SourceRecord>()
  @exclusivity(unchecked) private var keys: EventKeySet
  /// The rows in the order of their keys, once ``sortRows()`` has found it.
  private var order: [Int] = []
  private var deadLetterBytes = 0
  /// The day that the last row touched: most rows touch the same.
  private var lastDay: Int32?
  /// The partition that was asked for last: most records follow one of the same.
  private var lastPartition = 0

  /// - Parameter expectedEvents: Rows to make room for at once; a batch grows beyond it.
  public init(expectedEvents: Int = 0) {
    rows = ByteArena(capacity: expectedEvents * 512)
    sources = ByteArena(capacity: expectedEvents * 768)
    keys = EventKeySet(minimumCapacity: expectedEvents)
    events.reserveCapacity(expectedEvents)
    rowRanges.reserveCapacity(expectedEvents)
    records.reserveCapacity(expectedEvents)
  }

  /// Rows in the batch.
  public var count: Int { events.count }

  /// Whether there is neither a row nor a dead letter.
  public var isEmpty: Bool { events.isEmpty && deadLetters.isEmpty }

  /// Bytes of rows, sources and dead letters.
  public var byteCount: Int { rows.count + sources.count + deadLetterBytes }

  // MARK: Taking a record

  /// The index by which the records of a partition name it.
  public func partitionIndex(topic: String, partition: Int32) -> Int32 {
    if lastPartition < partitions.count {
      let last = partitions[lastPartition]
      if last.partition == partition && last.topic == topic { return Int32(lastPartition) }
    }
    let wanted = TopicPartitionName(topic: topic, partition: partition)
    lastPartition = partitions.firstIndex(of: wanted) ?? partitions.count
    if lastPartition == partitions.count { partitions.append(wanted) }
    return Int32(lastPartition)
  }

  /// Copies a record's key and payload behind its headers, which were packed into `sources` before.
  public func retain(
    partitionIndex: Int32, offset: Int64, timestampMs: Int64, key: UnsafeRawBufferPointer?,
    payload: UnsafeRawBufferPointer, headers: ByteRange?
  ) -> SourceRecord {
    sources.reserve((key?.count ?? 0) + payload.count)
    var keyRange: ByteRange?
    if let key {
      keyRange = ByteRange(offset: sources.count, count: key.count)
      sources.append(key)
    }
    let payloadRange = ByteRange(offset: sources.count, count: payload.count)
    sources.append(payload)
    return SourceRecord(
      partitionIndex: partitionIndex, offset: offset, timestampMs: timestampMs, key: keyRange,
      payload: payloadRange, headers: headers)
  }

  /// Where a record comes from, for a batch that keeps no sources: its bytes are needed only if it is rejected.
  public func unretained(partitionIndex: Int32, offset: Int64, timestampMs: Int64) -> SourceRecord {
    SourceRecord(
      partitionIndex: partitionIndex, offset: offset, timestampMs: timestampMs, key: nil,
      payload: ByteRange(offset: sources.count, count: 0), headers: nil)
  }

  /// Whether an event at this time would make the batch touch more than `maxDays` days.
  @inline(__always)
  public func wouldExceed(maxDays: Int, for createdAt: Int64) -> Bool {
    let day = UTCBucket.day(ofMicros: createdAt)
    return day != lastDay && days.count >= maxDays && !days.contains(day)
  }

  /// Adds the event whose row is the last in `rows` and whose record is the last in `sources`.
  ///
  /// - Returns: False if the batch has an event with this key already; then the bytes are gone again.
  @discardableResult
  public func add(_ facts: EventFacts, rowStart: Int, source: SourceRecord) -> Bool {
    guard keys.insert(facts.key) else {
      discard(rowStart: rowStart, source: source)
      return false
    }
    var domain = StringTable.null
    if let range = facts.domain { domain = strings.intern(rows.slice(range.offset, range.count)) }
    let model = strings.intern(rows.slice(facts.model.offset, facts.model.count))
    touch(UTCBucket.day(ofMicros: facts.key.createdAt))
    events.append(BatchRow(facts, domain: domain, model: model))
    rowRanges.append(ByteRange(offset: rowStart, count: rows.count - rowStart))
    if keepsSources {
      records.append(source)
    } else {
      sources.truncate(to: source.start)
      records.append(source.withoutBytes)
    }
    return true
  }

  /// Makes a dead letter of the record that is the last in `sources`.
  public func reject(_ rejection: Rejection, rowStart: Int, source: SourceRecord, eventDay: Int32? = nil) {
    append(
      makeDeadLetter(
        source, reason: rejection.reason, detail: rejection.detail, eventDay: eventDay))
    discard(rowStart: rowStart, source: source)
  }

  /// Takes the last row and the last record out again.
  public func discard(rowStart: Int, source: SourceRecord) {
    rows.truncate(to: rowStart)
    sources.truncate(to: source.start)
  }

  /// Adds a dead letter that was made elsewhere.
  public func append(_ deadLetter: DeadLetter) {
    deadLetterBytes += deadLetter.byteCount
    deadLetters.append(deadLetter)
  }

  /// Empties the batch for the next one; keeps its memory and its partitions.
  public func removeAll() {
    rows.truncate(to: 0)
    sources.truncate(to: 0)
    strings.removeAll()
    days.removeAll(keepingCapacity: true)
    deadLetters.removeAll()
    repairs = RepairCounts()
    events.removeAll(keepingCapacity: true)
    rowRanges.removeAll(keepingCapacity: true)
    records.removeAll(keepingCapacity: true)
    keys.removeAll(keepingCapacity: true)
    order = []
    deadLetterBytes = 0
    lastDay = nil
  }

  // MARK: Reading a row

  /// The row's key.
  @inline(__always)
  public func key(_ row: Int) -> EventKey { events[row].key }

  /// The row in PostgreSQL's binary COPY format. Valid until the batch changes.
  @inline(__always)
  public func row(_ row: Int) -> UnsafeRawBufferPointer {
    let range = rowRanges[row]
    return rows.slice(range.offset, range.count)
  }

  /// Works out ``sortedOrder()`` ahead of whoever asks for it, for one who has the time.
  public func sortRows() {
    if order.count != count { order = rowsByKey() }
  }

  /// The rows' indices in the order of the raw table's key.
  public func sortedOrder() -> [Int] { order.count == count ? order : rowsByKey() }

  /// What the rollups know of the row's event, but for its domain and model.
  public func facts(_ row: Int) -> EventFacts { events[row].facts }

  /// The number of the row's domain in ``strings``.
  public func domain(_ row: Int) -> Int32 { events[row].domain }

  /// The number of the row's model in ``strings``.
  public func model(_ row: Int) -> Int32 { events[row].model }

  /// Where the row came from.
  public func source(_ row: Int) -> SourceRecord { records[row] }

  /// The dead letter that the row becomes when it cannot be stored. The batch, which must keep sources, stays as it is.
  public func deadLetter(forRow row: Int, reason: RejectionReason, detail: String) -> DeadLetter {
    precondition(
      keepsSources, "row \(row)'s record is gone; a batch without sources makes no dead letter of it")
    let day = reason == .beforeRetention ? UTCBucket.day(ofMicros: events[row].key.createdAt) : nil
    return makeDeadLetter(records[row], reason: reason, detail: detail, eventDay: day)
  }

  // MARK: Within

  @inline(__always)
  private func touch(_ day: Int32) {
    if day == lastDay { return }
    lastDay = day
    let place = days.firstIndex { $0 >= day } ?? days.count
    if place == days.count || days[place] != day { days.insert(day, at: place) }
  }

  private func makeDeadLetter(
    _ source: SourceRecord, reason: RejectionReason, detail: String, eventDay: Int32?
  ) -> DeadLetter {
    let from = partitions[Int(source.partitionIndex)]
    return DeadLetter(
      topic: from.topic, partition: from.partition, offset: source.offset,
      timestampMs: source.timestampMs < 0 ? nil : source.timestampMs,
      key: source.key.map { Array(sources.slice($0.offset, $0.count)) },
      payload: Array(sources.slice(source.payload.offset, source.payload.count)),
      payloadCount: source.payload.count,
      headersJSON: source.headers.map { RecordHeaders.json(sources.slice($0.offset, $0.count)) },
      reason: reason, detail: detail, eventDay: eventDay)
  }
}
