/// How the events lie in time, and whether some come twice.
enum Mix: String, CaseIterable, Sendable {
  /// A million in an hour: a batch touches one hour or two.
  case busy
  /// 33,000 in an hour: a batch touches one or two, and has few events for each row of the rollups.
  case sparse
  /// Busy without redeliveries.
  case clean = "busy, no redeliveries"
  /// Each batch spread over 30 days.
  case wide

  /// Seconds that so many events are spread over.
  func spanSeconds(events: Int) -> Int {
    switch self {
    case .busy, .clean: max(1, events * 3_600 / 1_000_000)
    case .sparse: max(1, events * 3_600 / 33_000)
    case .wide: 30 * 86_400
    }
  }

  /// Records for each event that are an earlier one once more.
  var redeliveries: Double { self == .busy || self == .sparse ? 0.01 : 0 }
}
