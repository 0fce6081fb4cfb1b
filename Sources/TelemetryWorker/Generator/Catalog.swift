/// The domains, models and words that synthetic events are made of. Nobody's: names under `.example` are reserved
/// (RFC 2606), addresses are those for documentation (RFC 5737).
struct Catalog {
  struct Model {
    /// In JSON's quotes.
    let name: [UInt8]
    /// Nano-dollars a token: 250 is 0.25 USD for a million.
    let inputPrice: Int64
    let outputPrice: Int64
    /// Times as long as the quickest.
    let slowness: Double
  }

  /// In JSON's quotes, the busiest first.
  let domains: [[UInt8]]
  let models: [Model]

  init(domains: Int, models: Int) {
    self.domains = (0..<domains).map { Array("\"\(Self.domain(rank: $0))\"".utf8) }
    self.models = (0..<models).map(Self.model)
  }

  private static func domain(rank: Int) -> String {
    // 7 and 20 have no common divisor, so that neighbours in rank do not share a word.
    let name = firsts[rank * 7 % firsts.count] + seconds[rank / firsts.count % seconds.count]
    let round = rank / (firsts.count * seconds.count)
    return round == 0 ? "\(name).example" : "\(name)\(round + 1).example"
  }

  private static func model(rank: Int) -> Model {
    let family = families[rank % families.count]
    let version = rank / families.count + 1
    return Model(
      name: Array("\"\(family.name)-\(version)\"".utf8), inputPrice: family.input, outputPrice: family.output,
      slowness: family.slowness)
  }

  private static let firsts = [
    "north", "bright", "silver", "open", "green", "quick", "blue", "clear", "bold", "red", "swift", "stone",
    "cedar",
    "lake", "summit", "harbor", "cloud", "iron", "maple", "sun",
  ]
  private static let seconds = [
    "wind", "bank", "labs", "market", "freight", "health", "energy", "media", "works", "systems", "travel",
    "foods",
    "motors", "press", "academy", "legal", "retail", "robotics", "insure", "garden", "partners", "studio",
    "clinic",
    "logistics", "telecom",
  ]
  private static let families: [(name: String, input: Int64, output: Int64, slowness: Double)] = [
    ("atlas-medium", 500, 1_500, 1.6), ("atlas-small", 150, 600, 1), ("atlas-large", 2_500, 10_000, 2.8),
    ("cirrus-fast", 75, 300, 0.7), ("cirrus-pro", 1_250, 5_000, 2.1), ("delta-reason", 3_000, 15_000, 5),
    ("delta-mini", 100, 400, 0.9), ("echo-vision", 2_000, 8_000, 2.4),
  ]

  static let errors: [StaticString] = [
    "upstream timed out after 30000 ms", "rate limit exceeded", "context length exceeded",
    "tool \\\"search\\\" failed: connection reset", "content filter refused the answer",
  ]
  static let queries: [StaticString] = [
    "order status 48213", "opening hours z\u{FC}rich", "refund policy", "how do I reset my password",
    "\u{5929}\u{6C17} \u{6771}\u{4EAC}", "compare \\\"basic\\\" and \\\"pro\\\" plans",
    "caf\u{E9} near me \u{2615}",
    "invoice 2024-11 pdf",
  ]
  static let tools: [StaticString] = ["web", "kb", "orders", "crm"]
  static let agents: [StaticString] = [
    "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/132.0", "ChatWidget/4.2 (iOS 18.1)",
    "api-client/1.9",
  ]
  static let networks: [StaticString] = ["192.0.2.", "198.51.100.", "203.0.113."]
}
