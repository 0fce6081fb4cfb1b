/// Requests and cost by minute of each domain, and of each model, for the trailing windows.
struct MinuteGroups: ~Copyable, Sendable {
  private struct Sum: BitwiseCopyable {
    var requests: Int32
    var costMicros: Int64
  }

  /// By minute since 1970 and either a domain or a model; the other one is null.
  private var table = GroupTable()
  private var sums = ContiguousArray<Sum>()
  var count: Int { sums.count }
  /// A minute of the day takes this many bits.
  private static let minuteBits = 11

  @inline(__always)
  mutating func add(_ event: BatchRow) {
    let minute = UTCBucket.minute(ofMicros: event.key.createdAt)
    let sum = Sum(requests: 1, costMicros: event.facts.costMicros ?? 0)
    if event.domain != StringTable.null {
      add(sum, to: GroupKey(bucket: minute, domain: event.domain, model: StringTable.null))
    }
    if event.model != StringTable.blank {
      add(sum, to: GroupKey(bucket: minute, domain: StringTable.null, model: event.model))
    }
  }

  /// Adds what other events were grouped to, their texts having other numbers.
  mutating func merge(_ other: consuming MinuteGroups, _ texts: TextNumbers) {
    for (key, sum) in zip(other.table.keys, other.sums) {
      add(sum, to: GroupKey(bucket: key.bucket, domain: texts[key.domain], model: texts[key.model]))
    }
  }

  @inline(__always)
  private mutating func add(_ sum: Sum, to key: GroupKey) {
    let number = table.number(of: key)
    if number == sums.count {
      sums.append(sum)
    } else {
      sums[number].requests += sum.requests
      sums[number].costMicros += sum.costMicros
    }
  }

  /// The minutes gathered by day.
  consuming func windows(
    _ order: GroupOrder
  ) -> ([WindowDelta], minutes: [Int16], requests: [Int32], costs: [Int64]) {
    var days = GroupTable()
    var dayOfMinute = ContiguousArray<Int>()
    dayOfMinute.reserveCapacity(sums.count)
    for key in table.keys {
      let day = UTCBucket.floorDivide(key.bucket, UTCBucket.minutesPerDay)
      dayOfMinute.append(days.number(of: GroupKey(bucket: day, domain: key.domain, model: key.model)))
    }
    let sorted = order.sorted(days.keys)
    var rows = sorted.map { number in
      WindowDelta(
        day: Int32(days.keys[number].bucket), domain: days.keys[number].domain,
        model: days.keys[number].model, minutes: 0..<0)
    }
    var minutes: [Int16] = []
    var requests: [Int32] = []
    var costs: [Int64] = []
    minutes.reserveCapacity(sums.count)
    requests.reserveCapacity(sums.count)
    costs.reserveCapacity(sums.count)
    for (place, number) in orderedMinutes(dayOfMinute, sorted) {
      if rows[place].minutes.isEmpty { rows[place].minutes = minutes.count..<minutes.count }
      rows[place].minutes = rows[place].minutes.lowerBound..<minutes.count + 1
      let minute = table.keys[number].bucket
      minutes.append(Int16(minute - Int64(rows[place].day) * UTCBucket.minutesPerDay))
      requests.append(sums[number].requests)
      costs.append(sums[number].costMicros)
    }
    return (rows, minutes, requests, costs)
  }

  /// For each minute, in the order of their windows and then of time: its window's place and its own number.
  private func orderedMinutes(
    _ dayOfMinute: ContiguousArray<Int>, _ sortedDays: ContiguousArray<Int>
  ) -> [(place: Int, number: Int)] {
    var placeOfDay = ContiguousArray(repeating: 0, count: sortedDays.count)
    for (place, number) in sortedDays.enumerated() { placeOfDay[number] = place }
    let numberBits = bitsNeeded(forCount: sums.count)
    let placeBits = bitsNeeded(forCount: sortedDays.count)
    assert(numberBits + Self.minuteBits + placeBits <= 64)
    var packed = ContiguousArray<UInt64>()
    packed.reserveCapacity(sums.count)
    for (number, key) in table.keys.enumerated() {
      let day = UTCBucket.floorDivide(key.bucket, UTCBucket.minutesPerDay)
      let minute = key.bucket - day * UTCBucket.minutesPerDay
      let window = UInt64(placeOfDay[dayOfMinute[number]]) << UInt64(Self.minuteBits) | UInt64(minute)
      packed.append(window << UInt64(numberBits) | UInt64(number))
    }
    radixSort(&packed, bits: numberBits..<numberBits + Self.minuteBits + placeBits)
    let numberMask = (UInt64(1) << UInt64(numberBits)) - 1
    return packed.map { (Int($0 >> UInt64(numberBits + Self.minuteBits)), Int($0 & numberMask)) }
  }
}
