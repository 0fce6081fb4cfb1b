/// Sorts numbers by the given bits, above which they must have none: least significant digit first, in time linear in
/// their count. Numbers that agree in those bits keep their order.
func radixSort(_ numbers: inout ContiguousArray<UInt64>, bits: Range<Int>) {
  let digitBits = 11
  let mask = (1 << digitBits) - 1
  var spare = ContiguousArray<UInt64>(repeating: 0, count: numbers.count)
  var places = ContiguousArray(repeating: 0, count: mask + 1)
  for shift in stride(from: bits.lowerBound, to: bits.upperBound, by: digitBits) {
    places.withUnsafeMutableBufferPointer { places in
      numbers.withUnsafeBufferPointer { from in
        spare.withUnsafeMutableBufferPointer { to in
          places.update(repeating: 0)
          for number in from { places[Int(truncatingIfNeeded: number &>> UInt64(shift)) & mask] &+= 1 }
          var sum = 0
          for digit in places.indices {
            let size = places[digit]
            places[digit] = sum
            sum &+= size
          }
          for number in from {
            let digit = Int(truncatingIfNeeded: number &>> UInt64(shift)) & mask
            to[places[digit]] = number
            places[digit] &+= 1
          }
        }
      }
    }
    swap(&numbers, &spare)
  }
}

/// How many bits it takes to write the numbers from 0 to below `count`.
func bitsNeeded(forCount count: Int) -> Int {
  count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
}
