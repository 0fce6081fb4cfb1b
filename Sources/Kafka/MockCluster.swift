import CRdKafka

/// A Kafka cluster inside this process: librdkafka's own, for demonstrations and tests. It listens on free
/// ports of 127.0.0.1 and lives as long as this object.
///
/// Its limits: a partition keeps its last 5 MiB or 100,000 batches; there are no offsets by time;
/// the first join of a group takes 3 s, and each later rebalance `session.timeout.ms` less 1 s, whatever its members
/// do; nothing is stored. A broker's id is 1 and up.
///
/// Sendable without the compiler's check because its pointers never change, and because librdkafka runs
/// every call below on the cluster's own thread or under its lock.
public final class MockCluster: @unchecked Sendable {
  private let client: Client
  private let cluster: OpaquePointer
  /// `host:port` of each broker, separated by commas.
  public let bootstrapServers: String

  /// - Parameters:
  ///   - brokers: how many brokers.
  ///   - logger: what the brokers do, in debug lines; nil for silence.
  public init(brokers: Int, logger: KafkaLogger? = nil) throws(KafkaError) {
    let callbacks = DeliveryReports(logger: logger)
    let configuration = try ClientConfiguration(KafkaProperties(logger == nil ? [:] : ["debug": "mock"]))
    configuration.withPointer { callbacks.connect(to: $0) }
    client = try Client(RD_KAFKA_PRODUCER, configuration: configuration, callbacks: callbacks)
    guard let cluster = rd_kafka_mock_cluster_new(client.handle, Int32(brokers)) else {
      throw KafkaError(rd_kafka_last_error(), during: "start a mock cluster of \(brokers) brokers")
    }
    self.cluster = cluster
    bootstrapServers = String(cString: rd_kafka_mock_cluster_bootstraps(cluster))
  }

  deinit {
    rd_kafka_mock_cluster_destroy(cluster)
    client.destroy()
  }

  public func createTopic(_ name: String, partitions: Int, replication: Int = 1) throws(KafkaError) {
    try check(
      rd_kafka_mock_topic_create(cluster, name, Int32(partitions), Int32(replication)),
      "create topic \"\(name)\" with \(partitions) partitions")
  }

  /// Answers every question about this topic with `code`; 0 ends that. The cluster creates topics that somebody
  /// asks for, so this is how one is unknown.
  public func setTopicError(_ name: String, _ code: Int32) {
    rd_kafka_mock_topic_set_error(cluster, name, rd_kafka_resp_err_t(rawValue: code))
  }

  /// Moves a partition's leadership.
  public func setLeader(of partition: TopicPartition, toBroker broker: Int32) throws(KafkaError) {
    try check(
      rd_kafka_mock_partition_set_leader(cluster, partition.topic, partition.partition, broker),
      "move the leader of \(partition) to broker \(broker)")
  }

  /// Moves a consumer group to another coordinator.
  public func setCoordinator(ofGroup group: String, toBroker broker: Int32) throws(KafkaError) {
    try check(
      rd_kafka_mock_coordinator_set(cluster, "group", group, broker),
      "move the coordinator of group \"\(group)\" to broker \(broker)")
  }

  /// Cuts the broker's connections and refuses new ones, until `setBrokerUp`.
  public func setBrokerDown(_ broker: Int32) throws(KafkaError) {
    try check(rd_kafka_mock_broker_set_down(cluster, broker), "take broker \(broker) down")
  }

  public func setBrokerUp(_ broker: Int32) throws(KafkaError) {
    try check(rd_kafka_mock_broker_set_up(cluster, broker), "bring broker \(broker) up")
  }

  /// Delays each of the broker's responses.
  public func setRoundTripTime(ofBroker broker: Int32, ms: Int32) throws(KafkaError) {
    try check(
      rd_kafka_mock_broker_set_rtt(cluster, broker, ms), "set the round trip time of broker \(broker)")
  }

  /// Answers the coming requests of this kind, at any broker, with these codes, one each; 0 lets one pass.
  public func pushRequestErrors(_ request: RequestKind, _ codes: [Int32]) {
    let errors = codes.map { rd_kafka_resp_err_t(rawValue: $0) }
    rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, errors.count, errors)
  }

  /// Kinds of requests, by their keys in Kafka's protocol.
  public enum RequestKind: Int16, Sendable {
    case produce = 0
    case fetch = 1
    case listOffsets = 2
    case metadata = 3
    case offsetCommit = 8
    case offsetFetch = 9
    case findCoordinator = 10
    case joinGroup = 11
    case heartbeat = 12
    case leaveGroup = 13
    case syncGroup = 14
    case initProducerID = 22
  }
}
