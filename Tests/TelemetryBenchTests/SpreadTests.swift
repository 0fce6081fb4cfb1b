import Testing

@testable import TelemetryBench

@Suite("Spreads of several runs")
struct SpreadTests {
  @Test("The median of an even number of runs lies between the two in the middle")
  func median() throws {
    #expect(try #require(Spread([9, 1, 4])).median == 4)
    #expect(try #require(Spread([9, 1, 4, 6])).median == 5)
    #expect(Spread([]) == nil)
  }

  @Test("A percentile between two values is interpolated, whatever their order")
  func percentile() {
    // As percentile_cont: rank 0.99 * 3 = 2.97.
    #expect(abs(Spread.percentile(99, of: [40, 10, 30, 20]) - 39.7) < 1e-9)
    #expect(Spread.percentile(50, of: [7]) == 7)
    #expect(Spread.percentile(100, of: [3, 8, 5]) == 8)
  }

  @Test("A ratio compares the runs of the same round, and medians where rounds are missing")
  func ratio() throws {
    let above = try #require(Spread([2, 9, 12]))
    #expect(above.divided(by: try #require(Spread([1, 3, 4])))?.values == [2, 3, 3])
    #expect(above.divided(by: try #require(Spread([2, 4])))?.values == [3])
  }

  @Test(
    "Numbers are rounded half up and grouped by thousands",
    arguments: [
      (1_234_567.5, 0, "1,234,568"), (999.996, 2, "1,000.00"), (0.05, 2, "0.05"), (-0.004, 2, "0.00"),
      (-12.5, 1, "-12.5"), (.infinity, 1, "-"),
    ])
  func numbers(value: Double, digits: Int, text: String) {
    #expect(NumberForm.text(value, digits: digits) == text)
  }

  @Test("A spread is shown with its ends, a single value alone")
  func shown() throws {
    #expect(try #require(Spread([3, 1, 2])).text(digits: 1) == "2.0 (1.0..3.0)")
    #expect(try #require(Spread([2])).text(digits: 0) == "2")
  }
}
