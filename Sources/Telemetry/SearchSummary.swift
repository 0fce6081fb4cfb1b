import CEventDecoder

/// What the field `searches` says of itself; it outlives the parser's event no longer than that.
struct SearchSummary {
  let count: Int64
  private let elements: UnsafeBufferPointer<event_search>

  /// Nil when there is no such field.
  init?(_ field: EventField, of parser: OpaquePointer) throws(Rejection) {
    if field.isAbsent { return nil }
    guard field.isArray else { throw field.wrongType("an array") }
    var count = 0
    let start = event_parser_searches(parser, &count)
    elements = UnsafeBufferPointer(start: start, count: count)
    self.count = Int64(count)
  }

  /// The sum of the elements' `resultCount`; one without it adds none. An element that is no object, or whose
  /// `resultCount` is no count, adds none either and is counted: it is stored as it came, and a detail of a search must
  /// not cost the event.
  func totalResults(_ repairs: inout RowRepairs) throws(Rejection) -> Int64 {
    var sum: Int64 = 0
    for (index, element) in elements.enumerated() {
      guard element.kind == EVENT_VALUE_OBJECT else {
        repairs.searchResults += 1
        continue
      }
      let kind = element.result_count_kind
      if kind == EVENT_VALUE_ABSENT || kind == EVENT_VALUE_NULL { continue }
      let json = UnsafeRawBufferPointer(start: element.result_count, count: element.result_count_count)
      let name = "searches[\(index)].resultCount"
      guard let results = try? EventInteger.read(kind, json, name: name) else {
        repairs.searchResults += 1
        continue
      }
      sum += results
      guard EventInteger.range.contains(sum) else {
        throw .outOfRange(
          "total_results (the sum of resultCount in searches)", allowed: EventInteger.allowed, json)
      }
    }
    return sum
  }
}
