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
    for (index, element) in elements.enumerated() where element.kind != EVENT_VALUE_OBJECT {
      let name = "\(field.name)[\(index)]"
      throw .wrongType(name, element.kind.name, expected: "an object", field.json)
    }
  }

  /// The sum of the elements' `resultCount`; one without it adds none.
  func totalResults() throws(Rejection) -> Int64 {
    var sum: Int64 = 0
    for (index, element) in elements.enumerated() {
      if element.result_count_kind == EVENT_VALUE_ABSENT || element.result_count_kind == EVENT_VALUE_NULL {
        continue
      }
      let json = UnsafeRawBufferPointer(start: element.result_count, count: element.result_count_count)
      sum += try EventInteger.read(
        element.result_count_kind, json, name: "searches[\(index)].resultCount")
      guard EventInteger.range.contains(sum) else {
        throw .outOfRange(
          "total_results (the sum of resultCount in searches)", allowed: EventInteger.allowed, json)
      }
    }
    return sum
  }
}
