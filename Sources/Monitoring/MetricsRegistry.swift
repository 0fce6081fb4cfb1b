import Synchronization

/// All metric families of a process, and their text for Prometheus. Safe on any thread.
///
/// A name or label that Prometheus would refuse, or a name declared twice, is a mistake in the program and
/// traps at the declaration.
public final class MetricsRegistry: Sendable {
  private struct State {
    var names: Set<String> = []
    var families: [any MetricFamilyProtocol] = []
  }

  /// Put before every family's name, such as `telemetry_worker_`.
  public let prefix: String
  private let state = Mutex(State())

  public init(prefix: String = "") {
    self.prefix = prefix
  }

  public func counter(_ name: String, help: String) -> Counter {
    counters(name, help: help, labels: []).series()
  }

  public func gauge(_ name: String, help: String) -> Gauge {
    gauges(name, help: help, labels: []).series()
  }

  public func histogram(_ name: String, help: String, bounds: [Double]) -> Histogram {
    histograms(name, help: help, labels: [], bounds: bounds).series()
  }

  public func counters(_ name: String, help: String, labels: [String]) -> MetricFamily<Counter> {
    family(name, help, labels) { Counter() }
  }

  public func gauges(_ name: String, help: String, labels: [String]) -> MetricFamily<Gauge> {
    family(name, help, labels) { Gauge() }
  }

  public func histograms(
    _ name: String, help: String, labels: [String], bounds: [Double]
  ) -> MetricFamily<Histogram> {
    precondition(!labels.contains("le"), "le is the histogram's own label: \(name)")
    return family(name, help, labels) { Histogram(bounds: bounds) }
  }

  /// The exposition of every family, in the order they were declared.
  public func render() -> String {
    let families = state.withLock { $0.families }
    var text = ExpositionText()
    for family in families { family.write(to: &text) }
    return text.text
  }

  private func family<Series: MetricSeries>(
    _ name: String, _ help: String, _ labels: [String], make: @escaping @Sendable () -> Series
  ) -> MetricFamily<Series> {
    let family = MetricFamily(name: prefix + name, help: help, labelNames: labels, make: make)
    state.withLock { state in
      precondition(state.names.insert(family.name).inserted, "metric \(family.name) is declared twice")
      state.families.append(family)
    }
    return family
  }
}

/// What the registry needs of a family, whatever its kind of series.
protocol MetricFamilyProtocol: Sendable {
  func write(to text: inout ExpositionText)
}

/// A metric with labels: one series for each combination of label values. Safe on any thread.
public final class MetricFamily<Series: MetricSeries>: MetricFamilyProtocol {
  public let name: String
  public let help: String
  public let labelNames: [String]
  private let make: @Sendable () -> Series
  private let members = Mutex<[[String]: Series]>([:])

  init(name: String, help: String, labelNames: [String], make: @escaping @Sendable () -> Series) {
    precondition(isMetricName(name), "not a metric name: \(name)")
    for label in labelNames {
      precondition(isLabelName(label), "not a label name: \(label) of \(name)")
    }
    precondition(
      Set(labelNames).count == labelNames.count, "a label is named twice: \(labelNames) of \(name)")
    self.name = name
    self.help = help
    self.labelNames = labelNames
    self.make = make
  }

  /// The series with these label values, in the order of `labelNames`; made, at zero, when there is none yet.
  /// It may be kept for cheaper updates, until it is removed: from then on nobody sees what is added to it.
  @discardableResult
  public func series(_ values: String...) -> Series {
    precondition(values.count == labelNames.count, "\(name) has labels \(labelNames), got \(values)")
    return members.withLock { members in
      if let series = members[values] { return series }
      let series = make()
      members[values] = series
      return series
    }
  }

  /// Removes one series; nothing happens when there is none.
  public func remove(_ values: String...) {
    precondition(values.count == labelNames.count, "\(name) has labels \(labelNames), got \(values)")
    _ = members.withLock { $0.removeValue(forKey: values) }
  }

  /// The label values that have a series now.
  public var labelValues: [[String]] {
    members.withLock { Array($0.keys) }
  }

  /// Series are written in the order of their labels, so that two scrapes can be compared line by line.
  func write(to text: inout ExpositionText) {
    let sorted = members.withLock { $0.sorted { $0.key.lexicographicallyPrecedes($1.key) } }
    text.header(name: name, help: help, type: Series.typeName)
    for (values, series) in sorted {
      let labels = zip(labelNames, values).map { (name: $0, value: $1) }
      series.write(to: &text, name: name, labels: labels)
    }
  }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
private func isMetricName(_ name: String) -> Bool {
  isName(name) { $0 == UInt8(ascii: ":") }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; a leading `__` is reserved for Prometheus.
private func isLabelName(_ name: String) -> Bool {
  !name.hasPrefix("__") && isName(name) { _ in false }
}

private func isName(_ name: String, also allowed: (UInt8) -> Bool) -> Bool {
  guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) else {
    return false
  }
  return name.utf8.allSatisfy { byte in
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
    default: allowed(byte)
    }
  }
}
