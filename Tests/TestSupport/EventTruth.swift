import Foundation

/// An event of a test, with its JSON and, kept apart from the worker's code, what it adds to the rollups.
public struct TestEvent: Sendable {
  public var id: UUID
  /// Milliseconds since the Unix epoch.
  public var createdAtMs: Int64
  public var domain: String?
  public var model: String
  public var durationMs: Int?
  public var inputTokens: Int?
  public var outputTokens: Int?
  /// Micro-dollars.
  public var costMicros: Int?
  public var searches = 0
  public var iterations = 1
  public var success = true

  /// Realistic values from a seed, in the last days before `nowMs`.
  public static func random(
    _ generator: inout some RandomNumberGenerator, nowMs: Int64, spanMs: Int64 = 3 * 86_400_000
  ) -> TestEvent {
    let domains: [String?] = [nil, "unknown", "acme.example", "globex.example", "Ünïcode.example"]
    return TestEvent(
      id: UUID.random(&generator), createdAtMs: nowMs - .random(in: 0..<spanMs, using: &generator),
      domain: domains.randomElement(using: &generator)!,
      model: ["large", "small", "", "unknown"].randomElement(using: &generator)!,
      durationMs: Bool.random(using: &generator) ? .random(in: 0...60_000, using: &generator) : nil,
      inputTokens: .random(in: 0...5_000, using: &generator),
      outputTokens: Bool.random(using: &generator) ? .random(in: 0...2_000, using: &generator) : nil,
      costMicros: .random(in: 0...2_000_000, using: &generator),
      searches: .random(in: 0...3, using: &generator), iterations: .random(in: 0...4, using: &generator),
      success: .random(in: 0..<10, using: &generator) > 0)
  }

  public var json: String {
    var members = [
      "\"id\":\"\(id.uuidString.lowercased())\"", "\"session_id\":\"s-\(id.uuidString.prefix(4))\"",
      "\"model\":\"\(model)\"", "\"created_at\":\(createdAtMs)", "\"search_count\":\(searches)",
      "\"iterations\":\(iterations)", "\"success\":\(success)",
    ]
    if let domain { members.append("\"domain\":\" \(domain) \"") }
    if let durationMs { members.append("\"duration_ms\":\(durationMs)") }
    if let inputTokens { members.append("\"input_tokens\":\(inputTokens)") }
    if let outputTokens { members.append("\"output_tokens\":\(outputTokens)") }
    if let costMicros {
      let digits = String(costMicros)
      let padded = String(repeating: "0", count: max(0, 7 - digits.count)) + digits
      members.append("\"cost_usd\":\(padded.dropLast(6)).\(padded.suffix(6))")
    }
    return "{\(members.joined(separator: ","))}"
  }
}

extension UUID {
  static func random(_ generator: inout some RandomNumberGenerator) -> UUID {
    let high = generator.next()
    let low = generator.next()
    func byte(_ word: UInt64, _ place: Int) -> UInt8 { UInt8(truncatingIfNeeded: word >> UInt64(place * 8)) }
    return UUID(
      uuid: (
        byte(high, 0), byte(high, 1), byte(high, 2), byte(high, 3), byte(high, 4), byte(high, 5),
        byte(high, 6),
        byte(high, 7), byte(low, 0), byte(low, 1), byte(low, 2), byte(low, 3), byte(low, 4), byte(low, 5),
        byte(low, 6), byte(low, 7)
      ))
  }
}

/// A generator whose numbers are the same everywhere (splitmix64 of Steele, Lea and Flood).
public struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }
}

/// What the tables must hold after some events, computed by plain dictionaries, row by row as text.
public struct Truth {
  public private(set) var events: [UUID: TestEvent] = [:]

  public init() {}

  public mutating func add(_ event: TestEvent) { events[event.id] = event }
  public var count: Int { events.count }

  private struct Sums {
    var requests = 0
    var successes = 0
    var input = 0
    var output = 0
    var cost = 0
    var dearest: Int?
    var duration = 0
    var timed = 0
    var longest: Int?
    var searches = 0
    var iterations = 0
    var first = Int64.max
    var last = Int64.min

    mutating func add(_ event: TestEvent) {
      requests += 1
      successes += event.success ? 1 : 0
      input += event.inputTokens ?? 0
      output += event.outputTokens ?? 0
      cost += event.costMicros ?? 0
      if let each = event.costMicros { dearest = max(dearest ?? each, each) }
      if let each = event.durationMs {
        duration += each
        timed += 1
        longest = max(longest ?? each, each)
      }
      searches += event.searches
      iterations += event.iterations
      first = min(first, event.createdAtMs)
      last = max(last, event.createdAtMs)
    }

    var text: String {
      func optional(_ value: Int?) -> String { value.map(String.init) ?? "-" }
      return
        "\(requests) \(successes) \(requests - successes) \(input) \(output) \(cost) \(optional(dearest)) "
        + "\(duration) \(timed) \(optional(longest)) \(searches) \(iterations) \(first) \(last)"
    }
  }

  /// The columns of a rollup table in the order of `Sums.text`, as SQL.
  private static let columns = """
    concat_ws(' ', total_requests, success_count, failure_count, total_input_tokens, total_output_tokens,
      (total_cost_usd * 1000000)::bigint, coalesce((max_cost_usd * 1000000)::bigint::text, '-'),
      total_duration_ms, timed_requests, coalesce(max_duration_ms::text, '-'), total_searches, total_iterations,
      (extract(epoch FROM first_request_at) * 1000)::bigint, (extract(epoch FROM last_request_at) * 1000)::bigint)
    """

  private func grouped(_ key: (TestEvent) -> String) -> [String] {
    var sums: [String: Sums] = [:]
    for event in events.values { sums[key(event), default: Sums()].add(event) }
    return sums.map { "\($0.key) \($0.value.text)" }.sorted()
  }

  /// What differs between the tables and this truth; empty when all is well.
  public func differences(in database: TestDatabase) throws -> [String] {
    let hour = { (event: TestEvent) in
      String(Int((Double(event.createdAtMs) / 3_600_000).rounded(.down)) * 3_600)
    }
    let model = { (event: TestEvent) in event.model.isEmpty ? "unknown" : event.model }
    return try compare("raw rows", [String(count)], database, "SELECT count(*) FROM @.chat_telemetry")
      + compare(
        "raw ids", events.keys.map { $0.uuidString.lowercased() }.sorted(), database,
        "SELECT id FROM @.chat_telemetry")
      + compare(
        "rollups", grouped(hour), database,
        """
        SELECT concat(extract(epoch FROM bucket_start)::bigint, ' ', \(Self.columns))
        FROM @.chat_telemetry_rollups WHERE granularity = 'hour'
        """)
      + compare(
        "domain rollups", grouped { "\(hour($0)) \($0.domain ?? "unknown")" }, database,
        """
        SELECT concat(extract(epoch FROM bucket_start)::bigint, ' ', domain, ' ', \(Self.columns))
        FROM @.chat_telemetry_domain_rollups WHERE granularity = 'hour'
        """)
      + compare(
        "model rollups", grouped { "\(hour($0)) \($0.domain ?? "<null>") \(model($0))" }, database,
        """
        SELECT concat(extract(epoch FROM bucket_start)::bigint, ' ', coalesce(domain, '<null>'), ' ', model, ' ',
          \(Self.columns))
        FROM @.chat_telemetry_model_rollups WHERE granularity = 'hour'
        """)
      + compare(
        "summary deltas, pending and folded",
        [
          "\(count) \(events.values.reduce(0) { $0 + ($1.costMicros ?? 0) }) \(events.values.count { $0.durationMs != nil })"
        ], database,
        """
        SELECT concat_ws(' ', pending.requests + folded.requests, (pending.cost + folded.cost)::bigint,
          (pending.timed + day.timed)::bigint)
        FROM (
          SELECT coalesce(sum(total_requests), 0) AS requests, coalesce(sum(total_cost_micros), 0) AS cost,
            coalesce(sum((SELECT sum(c) FROM unnest(bin_counts) AS c)), 0) AS timed
          FROM @.chat_telemetry_summary_deltas) AS pending, (
          SELECT coalesce(sum(total_requests), 0) AS requests, coalesce(sum(total_cost_usd) * 1000000, 0) AS cost
          FROM @.chat_telemetry_totals) AS folded, (
          SELECT coalesce(sum(c), 0) AS timed FROM (
            SELECT unnest(duration_bin_counts) AS c FROM @.chat_telemetry_model_rollups WHERE granularity = 'day'
            UNION ALL SELECT unnest(bin_counts) FROM @.chat_telemetry_day_sketch_deltas) AS bins) AS day
        """)
  }

  private func compare(
    _ what: String, _ expected: [String], _ database: TestDatabase, _ sql: String
  ) throws -> [String] {
    let found = try database.rows(sql).map { $0[0] ?? "<null>" }.sorted()
    guard found != expected else { return [] }
    let missing = Set(expected).subtracting(found).sorted().prefix(3)
    let surplus = Set(found).subtracting(expected).sorted().prefix(3)
    return ["\(what): \(found.count) rows for \(expected.count); missing \(missing), surplus \(surplus)"]
  }
}
