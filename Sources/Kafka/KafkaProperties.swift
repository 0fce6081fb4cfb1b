import CRdKafka

/// librdkafka settings by name, as a user writes them: TLS, SASL, buffers, timeouts.
public struct KafkaProperties: Sendable, Equatable {
  public private(set) var values: [String: String]

  public init(_ values: [String: String] = [:]) {
    self.values = values
  }

  public subscript(name: String) -> String? {
    get { values[name] }
    set { values[name] = newValue }
  }

  /// What no user may set, because the promises of `Consumer` and `Producer` hang on it: progress is kept by
  /// the caller and never by the broker, assignment is eager, and the callbacks below stay connected.
  public static let ownedByWorker: Set<String> = [
    "bootstrap.servers", "metadata.broker.list", "test.mock.num.brokers",
    "group.id", "group.protocol.type", "partition.assignment.strategy",
    "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms",
    "enable.auto.offset.store", "offset.store.method", "offset.store.path", "offset.store.sync.interval.ms",
    "auto.offset.reset", "isolation.level", "enable.partition.eof",
    "enabled_events", "log.queue",
  ]

  /// The names in here that are owned (`ownedByWorker`), sorted: each must be refused.
  public var ownedNames: [String] {
    values.keys.filter(Self.ownedByWorker.contains).sorted()
  }

  /// - Throws: an error that names what must not be set.
  func refuseOwned() throws(KafkaError) {
    guard let name = ownedNames.first else { return }
    throw KafkaError(
      RD_KAFKA_RESP_ERR__INVALID_ARG, during: "set the Kafka property \"\(name)\"",
      message: "it is set by the client itself and must be left out")
  }

  /// Whether the value of this property must never be shown.
  public static func isSecret(_ name: String) -> Bool {
    let name = name.lowercased()
    return ["password", "secret", "oauthbearer.config", "jaas", ".pem"].contains { name.contains($0) }
  }

  /// These properties with `defaults` where nothing is set, and `fixed` above both.
  func completed(defaults: [String: String], fixed: [String: String]) -> KafkaProperties {
    KafkaProperties(
      defaults.merging(values) { _, user in user }.merging(fixed) { _, fixed in fixed })
  }
}

extension KafkaProperties: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// `name=value` sorted by name; a secret is shown as `***`.
  public var description: String { shown.map { "\($0.0)=\($0.1)" }.joined(separator: " ") }

  public var debugDescription: String { description }

  /// Keeps secrets out of `dump` as well.
  public var customMirror: Mirror {
    Mirror(self, children: shown.map { (label: $0.0, value: $0.1) })
  }

  private var shown: [(String, String)] {
    values.sorted { $0.key < $1.key }.map { ($0.key, Self.isSecret($0.key) ? "***" : $0.value) }
  }
}
