import Kafka
import Telemetry

/// What the consuming part of the worker is told.
public struct IngestSettings: Sendable {
  /// `host:port`, separated by commas.
  public var brokers: String
  public var topics: [String]
  public var group: String
  /// librdkafka's own properties.
  public var properties: KafkaProperties
  public var start: StartPosition
  public var rules: DecodingRules
  /// Records of a batch, at the most.
  public var batchEvents: Int
  /// Bytes of a batch, at the most: its rows, and the records they came from where those are kept.
  public var batchBytes: Int
  /// Milliseconds after which a batch goes to an idle writer.
  public var flushMs: Int
  /// Seconds that a stop may take.
  public var shutdownDeadlineSeconds: Int
  public var database: DatabaseSettings
  /// A topic that dead letters are copied to, besides their table; nil is none.
  public var deadLetterTopic: String?

  public init(
    brokers: String, topics: [String], group: String, properties: KafkaProperties, start: StartPosition,
    rules: DecodingRules, batchEvents: Int, batchBytes: Int, flushMs: Int, shutdownDeadlineSeconds: Int,
    database: DatabaseSettings, deadLetterTopic: String? = nil
  ) {
    self.brokers = brokers
    self.topics = topics
    self.group = group
    self.properties = properties
    self.start = start
    self.rules = rules
    self.batchEvents = batchEvents
    self.batchBytes = batchBytes
    self.flushMs = flushMs
    self.shutdownDeadlineSeconds = shutdownDeadlineSeconds
    self.database = database
    self.deadLetterTopic = deadLetterTopic
  }

  var deadLetterTopicSettings: DeadLetterTopicSettings? {
    deadLetterTopic.map { DeadLetterTopicSettings(brokers: brokers, properties: properties, topic: $0) }
  }
}
