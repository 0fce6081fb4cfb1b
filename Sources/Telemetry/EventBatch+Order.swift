extension EventBatch {
  /// The rows' indices in the order of the raw table's key.
  ///
  /// Fast where the rows are in order already, as events mostly are; otherwise the offsets in time and the indices
  /// are packed into single numbers and sorted by radix, and equal times are then ordered by id.
  func rowsByKey() -> [Int] {
    if isInOrder() { return Array(0..<count) }
    var earliest = Int64.max
    var latest = Int64.min
    for each in events {
      earliest = min(earliest, each.key.createdAt)
      latest = max(latest, each.key.createdAt)
    }
    let span = UInt64(bitPattern: latest &- earliest)
    let indexBits = bitsNeeded(forCount: count)
    let spanBits = UInt64.bitWidth - span.leadingZeroBitCount
    guard indexBits + spanBits <= 64 else {
      return (0..<count).sorted { events[$0].key < events[$1].key }
    }
    return packedOrder(earliest: earliest, indexBits: indexBits, spanBits: spanBits)
  }

  private func isInOrder() -> Bool {
    for row in events.indices.dropFirst() where events[row].key < events[row - 1].key { return false }
    return true
  }

  private func packedOrder(earliest: Int64, indexBits: Int, spanBits: Int) -> [Int] {
    var packed = ContiguousArray<UInt64>()
    packed.reserveCapacity(count)
    for row in events.indices {
      let time = UInt64(bitPattern: events[row].key.createdAt &- earliest)
      packed.append(time << UInt64(indexBits) | UInt64(row))
    }
    radixSort(&packed, bits: indexBits..<indexBits + spanBits)
    let mask = (UInt64(1) << UInt64(indexBits)) - 1
    var order = packed.map { Int($0 & mask) }
    orderEqualTimes(&order)
    return order
  }

  /// Orders by id within each run of rows that have the same time.
  private func orderEqualTimes(_ order: inout [Int]) {
    var start = 0
    while start < order.count {
      let time = events[order[start]].key.createdAt
      var end = start + 1
      while end < order.count && events[order[end]].key.createdAt == time { end += 1 }
      if end - start > 1 { order[start..<end].sort { events[$0].key < events[$1].key } }
      start = end
    }
  }
}
