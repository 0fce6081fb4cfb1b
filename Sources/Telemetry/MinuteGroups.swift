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
  private static let minutesPerHour = UTCBucket.hourMicros / UTCBucket.minuteMicros
  /// A minute of the hour takes this many bits.
  private static let minuteBits = 6

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

  /// The minutes gathered by hour.
  consuming func windows(
    _ order: GroupOrder
  ) -> ([WindowDelta], minutes: [Int16], requests: [Int64], costs: [Int64]) {
    var hours = GroupTable()
    var hourOfMinute = ContiguousArray<Int32>()
    hourOfMinute.reserveCapacity(sums.count)
    for key in table.keys {
      let hour = UTCBucket.floorDivide(key.bucket, Self.minutesPerHour)
      let number = hours.number(of: GroupKey(bucket: hour, domain: key.domain, model: key.model))
      hourOfMinute.append(Int32(number))
    }
    let sorted = order.sorted(hours.keys)
    var rows = sorted.map { number in
      WindowDelta(
        hourStart: hours.keys[number].bucket * UTCBucket.hourMicros, domain: hours.keys[number].domain,
        model: hours.keys[number].model, requests: 0, costMicros: 0, minutes: 0..<0)
    }
    var minutes: [Int16] = []
    var requests: [Int64] = []
    var costs: [Int64] = []
    minutes.reserveCapacity(sums.count)
    requests.reserveCapacity(sums.count)
    costs.reserveCapacity(sums.count)
    for minute in orderedMinutes(hourOfMinute, sorted) {
      let place = minute.window
      if rows[place].minutes.isEmpty { rows[place].minutes = minutes.count..<minutes.count }
      rows[place].minutes = rows[place].minutes.lowerBound..<minutes.count + 1
      rows[place].requests += Int64(sums[minute.number].requests)
      rows[place].costMicros += sums[minute.number].costMicros
      minutes.append(Self.minuteOfHour(table.keys[minute.number].bucket))
      requests.append(Int64(sums[minute.number].requests))
      costs.append(sums[minute.number].costMicros)
    }
    return (rows, minutes, requests, costs)
  }

  private static func minuteOfHour(_ minute: Int64) -> Int16 {
    Int16(minute - UTCBucket.floorDivide(minute, Self.minutesPerHour) * Self.minutesPerHour)
  }

  /// For each minute, in the order of their windows and then of time: its window's place and its own number.
  private func orderedMinutes(
    _ hourOfMinute: ContiguousArray<Int32>, _ sortedHours: ContiguousArray<Int>
  ) -> some Sequence<(window: Int, number: Int)> {
    var placeOfHour = ContiguousArray(repeating: 0, count: sortedHours.count)
    for (place, number) in sortedHours.enumerated() { placeOfHour[number] = place }
    let numberBits = bitsNeeded(forCount: sums.count)
    let placeBits = bitsNeeded(forCount: sortedHours.count)
    assert(numberBits + Self.minuteBits + placeBits <= 64)
    var packed = ContiguousArray<UInt64>()
    packed.reserveCapacity(sums.count)
    for (number, key) in table.keys.enumerated() {
      let minute = UInt64(Self.minuteOfHour(key.bucket))
      let window = UInt64(placeOfHour[Int(hourOfMinute[number])]) << UInt64(Self.minuteBits) | minute
      packed.append(window << UInt64(numberBits) | UInt64(number))
    }
    radixSort(&packed, bits: numberBits..<numberBits + Self.minuteBits + placeBits)
    let numberMask = (UInt64(1) << UInt64(numberBits)) - 1
    return packed.lazy.map {
      (window: Int($0 >> UInt64(numberBits + Self.minuteBits)), number: Int($0 & numberMask))
    }
  }
}
