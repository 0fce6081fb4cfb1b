import Telemetry
import Testing

@Suite("The searches of an event")
struct EventSearchesTests {
  @Test(
    "They give the counts that the event does not name itself",
    arguments: [
      ("[]", 0, 0), ("null", 0, 0), (#"[{"resultCount":3},{},{"tool":"x","resultCount":null}]"#, 3, 3),
      (#"[{"resultCount":1,"resultCount":2.0},{"result\u0043ount":5e0}]"#, 2, 7),
      (#"[{"a":{"resultCount":9},"b":[{"resultCount":9}]}]"#, 1, 0),
    ])
  func defaults(_ json: String, _ count: Int64, _ results: Int64) throws {
    for rules in [DecodingRules(), DecodingRules(dropFields: [.searches])] {
      let event = try DecodedEvent("\"searches\":\(json)", rules: rules)
      #expect(event.facts.searches == count)
      #expect(event.integer(.searchCount) == count)
      #expect(event.integer(.totalResults) == results)
    }
  }

  @Test("What the event names itself goes before them")
  func given() throws {
    let event = try DecodedEvent(#""search_count":7,"total_results":8,"searches":[{"resultCount":"many"}]"#)
    #expect(event.facts.searches == 7)
    #expect(event.integer(.totalResults) == 8)
  }

  @Test("They are an array", arguments: ["1", "true", #""[]""#, "{}"])
  func shape(_ json: String) {
    for rules in [DecodingRules(), DecodingRules(dropFields: [.searches])] {
      #expect(rejection("\"searches\":\(json)", rules: rules)?.reason == .wrongType)
    }
  }

  @Test(
    "An element that is no object, or whose resultCount is no count, is one search without results, and counted",
    arguments: [
      ("1", 1), ("null", 1), ("[]", 1), (#""a""#, 1), (#"{"resultCount":1.5}"#, 1),
      (#"{"resultCount":"1"}"#, 1),
      (#"{"resultCount":true}"#, 1), (#"{"resultCount":-1}"#, 1), (#"{"resultCount":2147483648}"#, 1),
      (#"{"resultCount":1e400}"#, 1), (#"{"resultCount":0}"#, 0),
    ])
  func oddElements(_ element: String, _ repairs: Int) throws {
    let event = try DecodedEvent("\"searches\":[{\"resultCount\":4},\(element)]")
    #expect(event.integer(.searchCount) == 2)
    #expect(event.integer(.totalResults) == 4)
    #expect(event.repairs[.searchResults] == repairs)
  }

  @Test("The sum of the results is in the range of total_results")
  func sum() {
    func reason(_ count: String) -> RejectionReason? {
      rejection("\"searches\":[{\"resultCount\":1},{\"resultCount\":\(count)}]")?.reason
    }
    #expect(reason("2147483646") == nil)
    #expect(reason("2147483647") == .outOfRange)
  }

  @Test("Those of one event do not count for the next")
  func next() throws {
    #expect(try DecodedEvent(#""searches":[{"resultCount":1}],"searches":[]"#).facts.searches == 0)
    #expect(try DecodedEvent(#""searches":[{"resultCount":1}],"searches":null"#).integer(.totalResults) == 0)
  }
}
