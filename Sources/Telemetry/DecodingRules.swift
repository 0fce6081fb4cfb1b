/// A field that privacy may forbid to store. The raw value is its name in the event and in
/// `ingest.drop_fields`.
public enum DroppableField: String, CaseIterable, Sendable {
  case conversationID = "conversation_id"
  case error
  case userAgent = "user_agent"
  case ipAddress = "ip_address"
  case searches
  case logs
  case modelConfig = "model_config"

  var column: RawColumn {
    switch self {
    case .conversationID: .conversationID
    case .error: .error
    case .userAgent: .userAgent
    case .ipAddress: .ipAddress
    case .searches: .searches
    case .logs: .logs
    case .modelConfig: .modelConfig
    }
  }
}

/// What an operator decides about decoding.
public struct DecodingRules: Sendable {
  /// An event older than this many days is refused as `past_time`: most likely its seconds were taken for
  /// milliseconds.
  public var maxAgeDays: Int
  /// An event further ahead of now than this many seconds is refused as `future_time`.
  public var maxFutureSeconds: Int
  /// Judged like the others, and then not stored. What other fields take from them (`success` from `error`,
  /// the counts from `searches`) they take all the same.
  public var dropFields: Set<DroppableField>

  public init(maxAgeDays: Int = 1100, maxFutureSeconds: Int = 3600, dropFields: Set<DroppableField> = []) {
    self.maxAgeDays = maxAgeDays
    self.maxFutureSeconds = maxFutureSeconds
    self.dropFields = dropFields
  }
}

/// Where a record stands in Kafka.
public struct RecordCoordinates: Hashable, Sendable {
  public var topic: String
  public var partition: Int32
  public var offset: Int64

  public init(topic: String, partition: Int32, offset: Int64) {
    self.topic = topic
    self.partition = partition
    self.offset = offset
  }
}

/// The lengths a field may have, in Unicode scalars, without the white space around it.
enum LengthLimit {
  static let domain = 253
  static let sessionID = 512
  static let conversationID = 512
  static let model = 200
  /// Of a model as given, with its white space: rollup rows are indexed by it and must stay small.
  static let modelAsGiven = 400
}
