import Testing

@testable import TelemetryBench

@Suite("Targets")
struct TargetTests {
  /// Of two rounds.
  private static func findings(floor: [Double], ours: [Double]) -> Findings {
    var findings = Findings()
    for value in floor { findings.add(value, .postgresCPU, of: .floor(.busy)) }
    for value in ours { findings.add(value, .postgresCPU, of: .ours(.busy)) }
    return findings
  }

  private static func target(_ title: String) throws -> Target {
    try #require(Target.all.first { $0.title == title })
  }

  @Test("Ours ÷ floor is ours above and the floor below, and its bound is met up to the bound itself")
  func ratio() throws {
    let target = try Self.target("Postgres CPU an event, ours ÷ floor, busy")
    #expect(target.isMet(by: Self.findings(floor: [10, 20, 10], ours: [13, 26, 13])) == true)
    #expect(target.isMet(by: Self.findings(floor: [10, 20, 10], ours: [13.1, 26.2, 12])) == false)
  }

  @Test("What was not measured is neither met nor missed")
  func unmeasured() throws {
    for target in Target.all { #expect(target.isMet(by: Findings()) == nil, "\(target.title)") }
    let half = Self.findings(floor: [], ours: [1])
    #expect(try Self.target("Postgres CPU an event, ours ÷ floor, busy").isMet(by: half) == nil)
  }

  @Test("A target that something stays under is missed at the bound, one of at least so much is met there")
  func bounds() throws {
    let findings = Findings()
    let at = { (bound: Target.Bound) in
      Target(title: "", bound: bound, digits: 0) { _ in Spread([10]) }.isMet(by: findings)
    }
    #expect(at(.under(10)) == false)
    #expect(at(.atMost(10)) == true)
    #expect(at(.atLeast(10)) == true)
    #expect(at(.atLeast(10.1)) == false)
  }

  @Test("The views over raw rows are compared with ours at the same size")
  func plainViews() throws {
    var findings = Findings()
    findings.add(9_000, .plainRefreshCPU, of: .refresh(millions: 5))
    for value in [90.0, 100, 110] { findings.add(value, .refreshCPU, of: .refresh(millions: 5)) }
    let target = try Self.target("views over raw rows ÷ ours, 5 M stored")
    #expect(target.value(findings)?.median == 90)
    #expect(target.isMet(by: findings) == true)
  }

  @Test("No two targets have the same name")
  func names() {
    #expect(Set(Target.all.map(\.title)).count == Target.all.count)
  }
}
