/// The three times of an event, judged against each other and the clock.
struct EventTimes {
  /// Event time: what is stored as `created_at`.
  let event: PostgresMicros
  /// As given, or event time.
  let start: PostgresMicros
  let end: PostgresMicros?
  /// `end_time - start_time` in microseconds, when both were given.
  let elapsedMicros: Int64?

  init(
    created: EventField, end: EventField, start: EventField, nowMicros: Int64, rules: DecodingRules
  ) throws(Rejection) {
    let createdTime = try created.time()
    let endTime = try end.time()
    let startTime = try start.time()
    guard let event = createdTime ?? endTime ?? startTime else {
      throw .missing("created_at, end_time and start_time")
    }
    let now = nowMicros - PostgresTime.unixEpochOffset
    let source = createdTime != nil ? created : endTime != nil ? end : start
    if event > now + Int64(rules.maxFutureSeconds) * 1_000_000 {
      let limit = "more than \(rules.maxFutureSeconds) s ahead of now"
      throw Rejection(.futureTime, "\(source.name): \(limit): \(Excerpt.of(source.json))")
    }
    if event < now - Int64(rules.maxAgeDays) * 86_400_000_000 {
      let limit = "more than \(rules.maxAgeDays) days ago"
      throw Rejection(.pastTime, "\(source.name): \(limit): \(Excerpt.of(source.json))")
    }
    self.event = event
    self.end = endTime
    self.start = startTime ?? event
    if let startTime, let endTime {
      elapsedMicros = endTime.subtractingSaturating(startTime)
    } else {
      elapsedMicros = nil
    }
  }
}

extension Int64 {
  /// The ends of `timestamptz` are further apart than 2^63 microseconds.
  fileprivate func subtractingSaturating(_ other: Int64) -> Int64 {
    let (difference, overflow) = subtractingReportingOverflow(other)
    return !overflow ? difference : self < other ? .min : .max
  }
}
