/// Why a record became a dead letter. The raw value is what the tables and metrics show.
public enum RejectionReason: String, CaseIterable, Sendable {
  case invalidUTF8 = "invalid_utf8"
  case invalidJSON = "invalid_json"
  case notAnObject = "not_an_object"
  case missingField = "missing_field"
  case wrongType = "wrong_type"
  case outOfRange = "out_of_range"
  case invalidTime = "invalid_time"
  case futureTime = "future_time"
  case pastTime = "past_time"
  case beforeRetention = "before_retention"
  case tooLong = "too_long"
  case tooDeep = "too_deep"
  case rejectedByDatabase = "rejected_by_database"
}

/// A record that cannot be stored, and why.
public struct Rejection: Error, Equatable, Sendable {
  public var reason: RejectionReason
  /// Names the field and shows a short excerpt of the offending value. Valid UTF-8 without U+0000.
  public var detail: String

  public init(_ reason: RejectionReason, _ detail: String) {
    self.reason = reason
    self.detail = detail
  }
}

/// What was mended in an event that was stored all the same. The raw value is the metric's label.
public enum RepairKind: String, CaseIterable, Sendable {
  /// U+0000 became U+FFFD.
  case nulCharacter = "nul_character"
  /// Half of a UTF-16 surrogate pair became U+FFFD.
  case loneSurrogate = "lone_surrogate"
  /// No id was given: the event is known by its coordinates only.
  case missingID = "missing_id"
  /// end_time lay before start_time and no duration was given: the duration is null.
  case negativeDuration = "negative_duration"
  /// An element of searches is no object or has no usable resultCount: it adds nothing to total_results.
  case searchResults = "search_results"
}

/// How often each kind of repair was made.
public struct RepairCounts: Equatable, Sendable {
  /// One for each ``RepairKind``, in place: an array would be allocated for every event.
  private var counts = SIMD8<Int>()

  public init() {}

  public subscript(kind: RepairKind) -> Int {
    get { counts[Self.index(kind)] }
    set { counts[Self.index(kind)] = newValue }
  }

  public mutating func add(_ other: RepairCounts) { counts &+= other.counts }

  private static func index(_ kind: RepairKind) -> Int {
    switch kind {
    case .nulCharacter: 0
    case .loneSurrogate: 1
    case .missingID: 2
    case .negativeDuration: 3
    case .searchResults: 4
    }
  }
}
