import Telemetry
import Testing

// The microseconds expected here were computed with Python's datetime or with PostgreSQL.
@Suite("The times of an event")
struct EventTimeTests {
  /// 2000-01-01T00:00:00Z in microseconds since 1970.
  private let postgresEpoch: Int64 = 946_684_800_000_000
  /// Lets times of any age be tried.
  private let anyAge = DecodingRules(maxAgeDays: 10_000_000)

  @Test(
    "RFC 3339 is read in all its forms, cut to the microsecond",
    arguments: [
      ("2026-06-15T11:59:58.123456Z", 834_839_998_123_456),
      ("2026-06-15t11:59:58.123456z", 834_839_998_123_456),
      ("2026-06-15 11:59:58.123456999", 834_839_998_123_456), ("2026-06-15T11:59:58", 834_839_998_000_000),
      ("2026-06-15T11:59:58.1Z", 834_839_998_100_000), ("2026-06-15T13:59:58+02:00", 834_839_998_000_000),
      ("2026-06-15T01:29:58-10:30", 834_839_998_000_000), ("2024-02-29T23:59:59+05:30", 762_546_599_000_000),
      ("2024-01-01T00:00:00-00:00", 757_382_400_000_000), ("2000-01-01T00:00:00Z", 0),
      ("1999-12-31T23:59:59.999999Z", -1), ("1970-01-01T00:00:00Z", -946_684_800_000_000),
      ("1900-03-01T00:00:00Z", -3_150_576_000_000_000), ("0000-01-01T00:00:00Z", -63_113_904_000_000_000),
      ("0001-01-01T00:00:00Z", -63_082_281_600_000_000), ("0000-03-01T00:00:00Z", -63_108_720_000_000_000),
    ] as [(String, Int64)])
  func forms(_ text: String, _ micros: Int64) throws {
    let event = try DecodedEvent(#""created_at":"\#(text)""#, rules: anyAge)
    #expect(event.integer(.createdAt) == micros)
    #expect(event.facts.key.createdAt == micros + postgresEpoch)
  }

  @Test(
    "A leap second is one only at the end of a day in UTC, and counts as the second that follows",
    arguments: [
      ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
      ("2016-12-31T15:59:60.5-08:00", "2017-01-01T00:00:00.5Z"),
      ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00Z"),
    ])
  func leapSecond(_ text: String, _ same: String) throws {
    let leap = try DecodedEvent(#""created_at":"\#(text)""#, rules: anyAge)
    let plain = try DecodedEvent(#""created_at":"\#(same)""#, rules: anyAge)
    #expect(leap.facts.key.createdAt == plain.facts.key.createdAt)
  }

  @Test(
    "A string that is no such time is invalid_time",
    arguments: [
      "", "now", "2026-06-15", "2026-06-15T12:00", "2026-6-15T12:00:00Z", "2026-06-15T12:00:00.Z",
      "2026-06-15T12:00:00,5Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
      "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z",
      "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T12:00:60Z",
      "2016-12-31T23:59:60+01:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+00:60",
      "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00Z ",
      " 2026-01-01T00:00:00Z", "2026-01-01_00:00:00Z", "2026/01/01T00:00:00Z", "+2026-01-01T00:00:00Z",
      "12026-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2026-01-01T00:00:00 Z", "2026-01-01T-1:00:00Z",
      "1781524800000", "٢٠٢٦-01-01T00:00:00Z",
    ])
  func invalid(_ text: String) {
    for name in ["created_at", "start_time", "end_time"] {
      #expect(rejection(#""\#(name)":"\#(text)""#, rules: anyAge)?.reason == .invalidTime)
    }
  }

  @Test(
    "An integer counts milliseconds since 1970, however it is written",
    arguments: ["1781524799123", "1781524799123.0", "1.781524799123e12", "17815247991230e-1"])
  func milliseconds(_ text: String) throws {
    #expect(try DecodedEvent("\"created_at\":\(text)").facts.key.createdAt == 1_781_524_799_123_000)
  }

  @Test(
    "A number beyond timestamptz is invalid_time, up to its very ends",
    arguments: [
      ("9224318015999999", true), ("9224318016000000", false), ("-210866803200000", true),
      ("-210866803200001", false), ("1e400", false), ("-1e400", false), ("99999999999999999999", false),
    ])
  func extremes(_ text: String, _ isTime: Bool) {
    #expect(rejection("\"end_time\":\(text)")?.reason == (isTime ? nil : .invalidTime))
  }

  @Test(
    "A time of another type, or a real fraction of a millisecond, is wrong_type",
    arguments: ["1.5", "1781524800000.5", "1e-1", "true", "[]", "{}"])
  func wrongType(_ text: String) {
    #expect(rejection("\"start_time\":\(text)")?.reason == .wrongType)
  }

  @Test("Event time is created_at, else end_time, else start_time; start_time falls back to it")
  func eventTime() throws {
    let start = #""start_time":"2026-06-15T10:00:00Z""#
    let end = #""end_time":"2026-06-15T11:00:00Z""#
    let noon: Int64 = 834_840_000_000_000
    let hour: Int64 = 3_600_000_000
    let all = try DecodedEvent("\(start),\(end)")
    #expect(all.integer(.createdAt) == noon)
    #expect(all.integer(.startTime) == noon - 2 * hour)
    #expect(all.integer(.endTime) == noon - hour)
    let two = try DecodedEvent("\"created_at\":null,\(start),\(end)")
    #expect(two.integer(.createdAt) == noon - hour)
    let one = try DecodedEvent("\"created_at\":null,\(start)")
    #expect(one.integer(.createdAt) == noon - 2 * hour)
    #expect(one.integer(.endTime) == nil)
    #expect(try DecodedEvent(end).integer(.startTime) == noon)
    #expect(rejection("\"created_at\":null")?.reason == .missingField)
  }

  @Test("Event time may be an hour ahead and 1,100 days old, and not a microsecond more")
  func window() {
    let now = DecodedEvent.nowMicros
    #expect(now == 1_781_524_800_000_000, "2026-06-15T12:00:00Z")
    func reason(_ time: String, _ rules: DecodingRules = DecodingRules()) -> RejectionReason? {
      rejection("\"created_at\":\"\(time)\"", rules: rules)?.reason
    }
    #expect(reason("2026-06-15T13:00:00Z") == nil)
    #expect(reason("2026-06-15T13:00:00.000001Z") == .futureTime)
    #expect(reason("2023-06-11T12:00:00Z") == nil)
    #expect(reason("2023-06-11T11:59:59.999999Z") == .pastTime)
    #expect(reason("2026-06-15T12:00:11Z", DecodingRules(maxFutureSeconds: 10)) == .futureTime)
    #expect(reason("2026-06-13T11:59:59Z", DecodingRules(maxAgeDays: 2)) == .pastTime)
    #expect(rejection("\"created_at\":1781524800")?.reason == .pastTime, "seconds taken for milliseconds")
  }

  @Test("Only event time is judged against the clock")
  func otherTimes() {
    #expect(rejection(#""start_time":"1990-01-01T00:00:00Z","duration_ms":1"#) == nil)
  }

  @Test(
    "A duration that is not given is end_time - start_time, rounded half up",
    arguments: [
      ("12:00:00", "12:00:01.5", 1500), ("12:00:00", "12:00:00.000499", 0), ("12:00:00", "12:00:00.0005", 1),
      ("12:00:00.000001", "12:00:00.0005", 0), ("12:00:00", "12:00:00", 0),
    ])
  func elapsed(_ start: String, _ end: String, _ milliseconds: Int64) throws {
    let event = try DecodedEvent(#""start_time":"2026-06-14T\#(start)Z","end_time":"2026-06-14T\#(end)Z""#)
    #expect(event.facts.durationMs == milliseconds)
    #expect(event.integer(.durationMs) == milliseconds)
  }

  @Test("A negative duration is null and counted; one beyond 2^31-1 ms is out_of_range")
  func elapsedExtremes() throws {
    let negative = try DecodedEvent(
      #""start_time":"2026-06-14T12:00:00.000001Z","end_time":"2026-06-14T12:00:00Z""#)
    #expect(negative.facts.durationMs == nil)
    #expect(negative.bytes(.durationMs) == nil)
    #expect(negative.repairs[.negativeDuration] == 1)
    #expect(try DecodedEvent(#""start_time":2147483647,"end_time":0"#).repairs[.negativeDuration] == 1)
    #expect(try DecodedEvent(#""start_time":0,"end_time":2147483647"#).facts.durationMs == 2_147_483_647)
    #expect(rejection(#""start_time":0,"end_time":2147483648"#)?.reason == .outOfRange)
    let widest = #""start_time":-210866803200000,"end_time":9224318015999999"#
    #expect(rejection(widest)?.reason == .outOfRange)
    #expect(try DecodedEvent(widest + #","duration_ms":5"#).facts.durationMs == 5)
    #expect(try DecodedEvent(#""start_time":0"#).facts.durationMs == nil)
  }
}
