import Foundation
import Kafka
import Store
import Telemetry

/// A topic that dead letters are copied to, and how it is reached.
public struct DeadLetterTopicSettings: Sendable {
  /// `host:port`, separated by commas.
  public var brokers: String
  /// librdkafka's own properties.
  public var properties: KafkaProperties
  public var topic: String

  public init(brokers: String, properties: KafkaProperties, topic: String) {
    self.brokers = brokers
    self.properties = properties
    self.topic = topic
  }
}

/// Dead letters that the brokers have not acknowledged. Their batch is tried again.
struct UndeliveredLetters: Error, CustomStringConvertible {
  var topic: String
  var count: Int
  var cause: KafkaError

  var description: String { "\(count) dead letters were not delivered to topic \(topic): \(cause)" }
}

/// Copies dead letters to a Kafka topic, each at least once. One thread: the writer's.
final class DeadLetterTopic {
  private let settings: DeadLetterTopicSettings
  private let logger: KafkaLogger
  /// Thrown away at a failure, and with it what is still under way.
  private var producer: Producer?
  /// What was acknowledged of the batch in hand: trying the batch again, or reading it again, copies that no more.
  private var acknowledged: Set<RecordCoordinates> = []

  /// Milliseconds until librdkafka gives a record up, unless the user's properties say otherwise. Short, for the batch
  /// waits, and is tried again.
  private static let deliveryTimeoutMs: Int32 = 5_000
  /// Milliseconds longer for the last answer.
  private static let graceMs: Int32 = 1_000

  init(settings: DeadLetterTopicSettings, logger: @escaping KafkaLogger) {
    self.settings = settings
    self.logger = logger
  }

  /// Returns when the brokers have acknowledged these letters of the batch in hand; how many were new.
  func copy(_ letters: [DeadLetter]) throws(UndeliveredLetters) -> Int {
    let missing = letters.filter { !acknowledged.contains($0.coordinates) }
    guard !missing.isEmpty else { return 0 }
    do throws(KafkaError) {
      try deliver(missing)
    } catch {
      producer = nil
      throw UndeliveredLetters(topic: settings.topic, count: missing.count, cause: error)
    }
    acknowledged.formUnion(missing.map(\.coordinates))
    return missing.count
  }

  /// The batch in hand is done.
  func forget() { acknowledged.removeAll() }

  private func deliver(_ letters: [DeadLetter]) throws(KafkaError) {
    let producer = try connected()
    for letter in letters {
      let record = DeadLetterRecord(letter, limit: recordLimit)
      try producer.produce(
        topic: settings.topic, key: record.key, value: record.value, headers: record.headers)
    }
    try producer.flush(timeoutMs: Self.deliveryTimeoutMs + Self.graceMs)
    // Of this producer's records none failed before: it would not be here any more.
    if let error = producer.counts.firstError { throw error }
  }

  private func connected() throws(KafkaError) -> Producer {
    if let producer { return producer }
    var properties = settings.properties
    if properties["message.timeout.ms"] == nil {
      properties["message.timeout.ms"] = String(Self.deliveryTimeoutMs)
    }
    let made = try Producer(brokers: settings.brokers, properties: properties) { [logger] in
      // The properties are the consumer's too, and librdkafka warns of those that mean nothing to a producer.
      if $1 != "CONFWARN" { logger($0, $1, $2) }
    }
    // Asked first, for a delivery that times out does not say that there is no such topic.
    _ = try made.partitionCount(ofTopic: settings.topic, timeoutMs: Self.deliveryTimeoutMs)
    producer = made
    return made
  }

  /// Bytes of a record that librdkafka takes: `message.max.bytes`, and its default.
  private var recordLimit: Int {
    settings.properties["message.max.bytes"].flatMap { Int($0) } ?? 1_000_000
  }
}

/// A dead letter as a record: the original key, value and headers, and more headers that tell where it was and why it is
/// here. One that has grown too large by these loses its value, and if need be all else of its own: the table has it.
struct DeadLetterRecord: Equatable {
  var key: [UInt8]?
  var value: [UInt8]?
  var headers: [Header]

  static let prefix = "x-telemetry-"
  /// What a record takes beside its parts, and each of its headers (KIP-98's record format: varints of at most 5 and 10
  /// bytes).
  private static let overheadBytes = 100
  private static let headerOverheadBytes = 10

  /// - Parameter limit: Bytes of the record, at the most.
  init(_ letter: DeadLetter, limit: Int) {
    let own = letter.headers
    var reasons = Self.reasons(letter)
    (key, value, headers) = (letter.key, letter.payload, own + reasons)
    if byteCount <= limit { return }
    reasons.append(Self.header("value-omitted-bytes", "\(letter.payloadCount)"))
    (value, headers) = (nil, own + reasons)
    if byteCount > limit { (key, headers) = (nil, reasons) }
  }

  private static func reasons(_ letter: DeadLetter) -> [Header] {
    var headers = [
      header("reason", letter.reason.rawValue), header("detail", letter.detail),
      header("original-topic", letter.topic), header("original-partition", "\(letter.partition)"),
      header("original-offset", "\(letter.offset)"),
    ]
    if let timestampMs = letter.timestampMs { headers.append(header("original-timestamp", "\(timestampMs)")) }
    return headers
  }

  private static func header(_ name: String, _ value: String) -> Header {
    Header(prefix + name, value: Array(value.utf8))
  }

  private var byteCount: Int {
    headers.reduce(Self.overheadBytes + (key?.count ?? 0) + (value?.count ?? 0)) {
      $0 + Self.headerOverheadBytes + $1.name.utf8.count + ($1.value?.count ?? 0)
    }
  }
}

extension DeadLetter {
  fileprivate var coordinates: RecordCoordinates {
    RecordCoordinates(topic: topic, partition: partition, offset: offset)
  }

  /// The record's own headers, from the JSON in which they are kept.
  fileprivate var headers: [Header] {
    guard let headersJSON,
      let kept = try? JSONDecoder().decode([StoredDeadLetter.Header].self, from: Data(headersJSON.utf8))
    else { return [] }
    return kept.map { header in
      let value = header.value.map { Array($0.utf8) } ?? header.valueBase64.flatMap(Self.bytes)
      let name =
        header.key ?? header.keyBase64.flatMap(Self.bytes).map { String(decoding: $0, as: UTF8.self) }
      return Header(name ?? "", value: value)
    }
  }

  private static func bytes(base64: String) -> [UInt8]? { Data(base64Encoded: base64).map { Array($0) } }
}
