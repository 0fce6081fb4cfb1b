/// What a batch keeps of an event for the rollups: the facts in 64 bytes, a cache line, as aggregating them is bound by
/// memory.
struct BatchRow: BitwiseCopyable {
  let key: EventKey
  /// -1 is none.
  private let costMicros: Int64
  /// -1 is none.
  private let durationMs: Int32
  private let inputTokens: Int32
  private let outputTokens: Int32
  private let searches: Int32
  private let iterations: Int32
  /// A number of the batch's ``StringTable``.
  let domain: Int32
  /// A number of the batch's ``StringTable``.
  let model: Int32
  private let success: Bool

  /// Every count of an event is at most 2^31-1: the decoder refuses what is larger.
  @inline(__always)
  init(_ facts: EventFacts, domain: Int32, model: Int32) {
    key = facts.key
    costMicros = facts.costMicros ?? -1
    durationMs = Int32(facts.durationMs ?? -1)
    inputTokens = Int32(facts.inputTokens)
    outputTokens = Int32(facts.outputTokens)
    searches = Int32(facts.searches)
    iterations = Int32(facts.iterations)
    self.domain = domain
    self.model = model
    success = facts.success
  }

  /// The facts again, but for the texts, which ``domain`` and ``model`` stand for.
  @inline(__always)
  var facts: EventFacts {
    var facts = EventFacts(key: key)
    facts.costMicros = costMicros < 0 ? nil : costMicros
    facts.durationMs = durationMs < 0 ? nil : Int64(durationMs)
    facts.inputTokens = Int64(inputTokens)
    facts.outputTokens = Int64(outputTokens)
    facts.searches = Int64(searches)
    facts.iterations = Int64(iterations)
    facts.success = success
    return facts
  }
}
