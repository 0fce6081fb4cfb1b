import Testing

@testable import TelemetryBench

@Suite struct SpreadTests {
  @Test("The median of an even number of runs lies between the two in the middle")
  func median() throws {
    #expect(try #require(Spread([9, 1, 4])).median == 4)
    #expect(try #require(Spread([9, 1, 4, 6])).median == 5)
    #expect(Spread([]) == nil)
  }
}
