/// Makes synthetic events. The record at a place depends on the options and the place alone: the same seed gives the
/// same bytes, and a redelivery is the record of an earlier place once more.
struct EventGenerator {
  let options: GeneratorOptions
  private let catalog: Catalog
  private let domains: ZipfDistribution
  private let models: ZipfDistribution
  /// The model that each domain uses for half of its requests.
  private let favourites: [Int]

  /// How far back a redelivery reaches, in records.
  private static let redeliveryReach = 4_096
  private static let anonymousShare = 0.01

  /// Draws about the record (is it a repeat, is it malformed) are apart from draws about the event.
  private static let recordStreams: UInt64 = 1 << 62
  private static let domainStreams: UInt64 = 1 << 63

  init(_ options: GeneratorOptions) {
    self.options = options
    catalog = Catalog(domains: options.domains, models: options.models)
    domains = ZipfDistribution(count: options.domains)
    let models = ZipfDistribution(count: options.models)
    self.models = models
    favourites = (0..<options.domains).map { rank in
      var random = RandomSource(seed: options.seed, stream: Self.domainStreams | UInt64(rank))
      return models.pick(&random)
    }
  }

  /// Writes the record at `index`, from 0, over `record`.
  func write(_ index: Int, into record: inout GeneratedRecord) {
    record.key.removeAll(keepingCapacity: true)
    record.value.removeAll(keepingCapacity: true)
    let original = original(of: index)
    let event = event(at: original)
    event.appendID(to: &record.key)
    event.appendJSON(catalog: catalog, to: &record.value)
    record.outcome = original == index ? .stored : .duplicate
    if options.malformedShare > 0, let malformation = malformation(of: original) {
      malformation.spoil(&record.value)
      record.outcome = .rejected(reason: malformation.reason)
    }
  }

  /// The place whose record this one repeats; its own when it repeats none.
  private func original(of index: Int) -> Int {
    var place = index
    while place > 0 && options.duplicateShare > 0 {
      var random = recordRandom(place)
      guard random.chance(options.duplicateShare) else { break }
      place -= 1 + random.below(min(place, Self.redeliveryReach))
    }
    return place
  }

  private func malformation(of index: Int) -> Malformation? {
    var random = recordRandom(index)
    _ = random.next()  // the draw that decided about a repeat
    guard random.chance(options.malformedShare) else { return nil }
    return Malformation.allCases[random.below(Malformation.allCases.count)]
  }

  private func recordRandom(_ index: Int) -> RandomSource {
    RandomSource(seed: options.seed, stream: Self.recordStreams | UInt64(index))
  }

  private func event(at index: Int) -> SyntheticEvent {
    var random = RandomSource(seed: options.seed, stream: UInt64(index))
    let domain = domains.pick(&random)
    let model = random.chance(0.5) ? favourites[domain] : models.pick(&random)
    let succeeded = random.chance(options.successRate)
    let createdAt = eventTime(index, &random)
    let duration = random.logNormal(
      median: 1_100 * catalog.models[model].slowness * (succeeded ? 1 : 0.4), sigma: 0.8, 20...600_000)
    let endTime = createdAt - Int64(random.below(25)) * 1_000
    let inputTokens = random.logNormal(median: 900, sigma: 1, 8...200_000)
    let outputTokens = succeeded ? random.logNormal(median: 220, sigma: 0.9, 1...16_000) : 0
    let prices = (catalog.models[model].inputPrice, catalog.models[model].outputPrice)
    let searches = random.chance(options.searchShare) ? 1 + random.below(4) : 0
    return SyntheticEvent(
      // The bits that make it a UUID of version 4: RFC 9562, section 5.4.
      idHigh: random.next() & ~0xF000 | 0x4000, idLow: random.next() & (.max >> 2) | 1 << 63,
      session: session(domain, createdAt, &random),
      conversation: random.chance(0.3) ? random.next() : nil,
      domain: random.chance(Self.anonymousShare) ? nil : domain, model: model,
      createdAt: createdAt, endTime: endTime, startTime: endTime - Int64(duration) * 1_000,
      durationMs: duration, iterations: min(10, 1 + searches + random.below(2)), searches: searches,
      inputTokens: inputTokens, outputTokens: outputTokens,
      cost: Int64(inputTokens) * prices.0 + Int64(outputTokens) * prices.1, succeeded: succeeded,
      timeStyle: timeStyle(&random), optional: optionalFields(&random), details: random)
  }

  /// Whole milliseconds. Late events move back, though never before the timeline's start.
  private func eventTime(_ index: Int, _ random: inout RandomSource) -> Int64 {
    let slot = options.timeline.slot(of: index)
    var time = slot.time + (slot.width > 0 ? Int64(random.below(Int(slot.width))) : 0)
    if random.chance(options.lateShare) {
      let minutes = random.logNormal(median: 20, sigma: 1.5, 1...2_880)
      time = max(options.timeline.start, time - Int64(minutes) * 60 * Timestamp.microsPerSecond)
    }
    return time / 1_000 * 1_000
  }

  /// A domain has a few sessions at a time; each lasts a quarter of an hour.
  private func session(_ domain: Int, _ time: Int64, _ random: inout RandomSource) -> UInt64 {
    let quarter = UInt64(bitPattern: time / (900 * Timestamp.microsPerSecond))
    return RandomSource.mix(quarter << 20 | UInt64(domain) << 4 | UInt64(random.below(8)))
  }

  private func timeStyle(_ random: inout RandomSource) -> SyntheticEvent.TimeStyle {
    switch random.below(20) {
    case 0: .offset
    case 1, 2: .epochMilliseconds
    default: .utc
    }
  }

  private func optionalFields(_ random: inout RandomSource) -> SyntheticEvent.OptionalFields {
    var fields: SyntheticEvent.OptionalFields = []
    if !random.chance(0.05) { fields.insert(.duration) }
    if !random.chance(0.05) { fields.insert(.success) }
    if random.chance(0.15) { fields.insert(.client) }
    if random.chance(0.25) { fields.insert(.searchList) }
    if random.chance(options.logShare) { fields.insert(.logs) }
    if random.chance(0.1) { fields.insert(.modelConfig) }
    return fields
  }
}
