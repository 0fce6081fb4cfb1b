import TestSupport
import Testing

@testable import Monitoring

@Suite("Metrics and their exposition")
struct MetricsTests {
  @Test(
    "the exposition has HELP, TYPE and the samples of every family, byte by byte as Prometheus wants them")
  func exactText() {
    let registry = MetricsRegistry(prefix: "app_")
    registry.counter("jobs_total", help: "Jobs done.").add(3)
    let gauges = registry.gauges("heat_celsius", help: "How hot.", labels: ["room", "wall"])
    gauges.series("b", "x").set(21.5)
    gauges.series("a", "x").set(-4)
    let histogram = registry.histogram("size", help: "Sizes.", bounds: [0.5, 1, 10])
    histogram.observe(contentsOf: [0.25, 1, 1.5, 100])

    #expect(
      registry.render() == """
        # HELP app_jobs_total Jobs done.
        # TYPE app_jobs_total counter
        app_jobs_total 3
        # HELP app_heat_celsius How hot.
        # TYPE app_heat_celsius gauge
        app_heat_celsius{room="a",wall="x"} -4
        app_heat_celsius{room="b",wall="x"} 21.5
        # HELP app_size Sizes.
        # TYPE app_size histogram
        app_size_bucket{le="0.5"} 1
        app_size_bucket{le="1"} 2
        app_size_bucket{le="10"} 3
        app_size_bucket{le="+Inf"} 4
        app_size_sum 102.75
        app_size_count 4

        """)
  }

  @Test(
    "a label value comes back from the exposition as it went in",
    arguments: [
      "", "plain", "two words", #"quote " quote"#, #"back\slash"#, #"\n"#, "line\nfeed", "carriage\r\nreturn",
      "{a=\"b\"}",
      "日本 🙂", "e\u{301}", "\u{0}", #"ends with \"#, #"\""#,
    ])
  func labelEscaping(value: String) throws {
    let registry = MetricsRegistry()
    registry.counters("c_total", help: "c", labels: ["name"]).series(value).add(7)
    let parsed = try ExpositionParser(registry.render())
    let sample = try #require(parsed.families["c_total"]?.samples.first)
    #expect(Array(sample.labels["name"]!.unicodeScalars) == Array(value.unicodeScalars))
    #expect(sample.value == 7)
  }

  @Test("a help text of several lines with backslashes stays on one line")
  func helpEscaping() throws {
    let registry = MetricsRegistry()
    _ = registry.counter("c_total", help: "first\nsecond \\ \"quoted\"")
    #expect(registry.render().hasPrefix("# HELP c_total first\\nsecond \\\\ \"quoted\"\n# TYPE"))
    _ = try ExpositionParser(registry.render())
  }

  @Test(
    "floats are written so that the reader gets the same number",
    arguments: [
      0, 1, -1, 0.1, 1e-9, 1e21, 123_456_789.125, .leastNonzeroMagnitude, .greatestFiniteMagnitude, .infinity,
      -.infinity,
      1_763_831_632.012345,
    ])
  func floats(value: Double) throws {
    let registry = MetricsRegistry()
    registry.gauge("g", help: "g").set(value)
    #expect(try ExpositionParser(registry.render()).value("g") == value)
  }

  @Test("not a number is written as NaN")
  func notANumber() {
    let registry = MetricsRegistry()
    registry.gauge("g", help: "g").set(Double.nan)
    #expect(registry.render().hasSuffix("\ng NaN\n"))
  }

  @Test("a counter past 2^53 loses no unit in the text")
  func largeCounter() {
    let registry = MetricsRegistry()
    let counter = registry.counter("c_total", help: "c")
    counter.add(9_007_199_254_740_992)
    counter.add()
    #expect(registry.render().hasSuffix("\nc_total 9007199254740993\n"))
  }

  @Test("a removed series is gone, the others stay, and coming back it starts at zero")
  func removal() throws {
    let registry = MetricsRegistry()
    let family = registry.counters("c_total", help: "c", labels: ["topic", "partition"])
    family.series("t", "0").add(5)
    family.series("t", "1").add(6)
    family.remove("t", "0")
    family.remove("t", "9")
    var parsed = try ExpositionParser(registry.render())
    #expect(parsed.value("c_total", ["topic": "t", "partition": "0"]) == nil)
    #expect(parsed.value("c_total", ["topic": "t", "partition": "1"]) == 6)
    family.series("t", "0")
    parsed = try ExpositionParser(registry.render())
    #expect(parsed.value("c_total", ["topic": "t", "partition": "0"]) == 0)
  }

  @Test("a histogram's bucket includes its bound, and a NaN changes nothing")
  func histogramBounds() {
    let histogram = Histogram(bounds: [1, 2])
    histogram.observe(contentsOf: [1, 2, .nan, 2.000001, -5, .infinity])
    let snapshot = histogram.snapshot
    #expect(snapshot.counts == [2, 1, 2])
    #expect(snapshot.sum == .infinity)
  }

  @Test("updates from many tasks at once are all counted, and scrapes in between are always well-formed")
  func concurrency() async throws {
    let registry = MetricsRegistry()
    let counters = registry.counters("c_total", help: "c", labels: ["n"])
    let histogram = registry.histogram("h", help: "h", bounds: [10, 100])
    let gauges = registry.gauges("g", help: "g", labels: ["n"])
    try await withThrowingTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          for step in 0..<2_000 {
            counters.series("\(step % 5)").add(2)
            histogram.observe(Double(step % 200))
            gauges.series("\(task)").set(step)
            if step % 7 == 0 { gauges.remove("\(task)") }
          }
        }
      }
      group.addTask {
        for _ in 0..<50 { _ = try ExpositionParser(registry.render()) }
      }
      try await group.waitForAll()
    }
    let parsed = try ExpositionParser(registry.render())
    let total = parsed.families["c_total"]!.samples.map(\.value).reduce(0, +)
    #expect(total == 8 * 2_000 * 2)
    #expect(parsed.value("h_count") == 16_000)
    #expect(parsed.value("h_sum") == Double(8 * 10 * (0..<200).reduce(0, +)))
  }

  @Test("a name Prometheus would refuse, or one declared twice, is caught when it is declared")
  func wrongDeclarations() async {
    await #expect(processExitsWith: .failure) { _ = MetricsRegistry().counter("1st", help: "") }
    await #expect(processExitsWith: .failure) { _ = MetricsRegistry().counter("a-b", help: "") }
    await #expect(processExitsWith: .failure) {
      _ = MetricsRegistry().counters("a", help: "", labels: ["__name__"])
    }
    await #expect(processExitsWith: .failure) {
      let registry = MetricsRegistry()
      _ = registry.counter("a", help: "")
      _ = registry.gauge("a", help: "")
    }
  }
}
