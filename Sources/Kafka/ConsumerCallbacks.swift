import CRdKafka

/// What librdkafka calls back, turned into events that `Consumer.poll` returns.
///
/// Threads: every callback but the log runs inside `rd_kafka_consumer_poll`, on the thread that polls, and
/// so may touch `events`. The log callback runs on any of librdkafka's threads, and touches only `logger`.
///
/// Each callback that leaves an event calls `rd_kafka_yield`, so that the poll in progress returns at once
/// instead of waiting for a record until its timeout.
final class ConsumerCallbacks {
  private let logger: KafkaLogger?
  private var events: [PollResult] = []
  private(set) var isRevocationPending = false
  private var isClosing = false

  init(logger: KafkaLogger?) {
    self.logger = logger
  }

  /// Whether the group changed the assignment and poll has not told so yet.
  var hasUnseenRebalance: Bool {
    events.contains { event in
      switch event {
      case .assigned, .revoked: true
      default: false
      }
    }
  }

  func nextEvent() -> PollResult? {
    events.isEmpty ? nil : events.removeFirst()
  }

  func revocationEnded() {
    isRevocationPending = false
  }

  /// From now on what the group gives or takes is a part of the close.
  func closingBegan() {
    isClosing = true
  }

  func connect(to conf: OpaquePointer) {
    rd_kafka_conf_set_rebalance_cb(conf) { client, code, partitions, opaque in
      ConsumerCallbacks.from(opaque).rebalance(client!, code, partitions)
    }
    rd_kafka_conf_set_offset_commit_cb(conf) { client, code, partitions, opaque in
      ConsumerCallbacks.from(opaque).committed(client!, code, partitions)
    }
    rd_kafka_conf_set_error_cb(conf) { client, code, reason, opaque in
      ConsumerCallbacks.from(opaque).failed(client!, code, reason)
    }
    rd_kafka_conf_set_stats_cb(conf) { client, json, length, opaque in
      let text = UnsafeRawBufferPointer(start: json, count: length)
      ConsumerCallbacks.from(opaque).add(.statistics(json: String(decoding: text, as: UTF8.self)), client!)
      return 0  // librdkafka frees the text
    }
    rd_kafka_conf_set_log_cb(conf) { client, level, facility, text in
      guard let client, let opaque = rd_kafka_opaque(client) else { return }
      ConsumerCallbacks.from(opaque).log(level, facility, text)
    }
  }

  /// The group has given or taken partitions.
  ///
  /// When: on the polling thread, inside `rd_kafka_consumer_poll`, also while closing.
  ///
  /// Given: answered at once with an empty assignment, and the caller assigns the partitions later, when it
  /// has read their positions. Left unanswered, librdkafka stays in its state `wait-assign-call`, where two
  /// things break: other members wait for this one although it holds nothing, and if the session is lost
  /// meanwhile, librdkafka joins again without ever revoking (rdkafka_cgrp.c,
  /// `rd_kafka_cgrp_revoke_all_rejoin`). In the steady state reached by the empty assignment it sends
  /// heartbeats, revokes properly, and accepts another assignment at any time.
  ///
  /// Taken: left unanswered on purpose until `Consumer.unassign`. librdkafka has paused the partitions and
  /// sends heartbeats, and the group waits, so the caller can finish writing what it read. Answering here would
  /// hand the partitions on first, and the other member would read the same records again. Never answering
  /// costs the membership after `max.poll.interval.ms`.
  ///
  /// While closing: only what the close itself takes is answered, at once, for it waits for that. What was unanswered
  /// before ends by itself. A superfluous answer may reach librdkafka just when the group is done, and is then thrown
  /// away: `rd_kafka_assign` waits for ever (its issue 4884; seen at one close in a hundred on a busy machine).
  private func rebalance(
    _ client: OpaquePointer, _ code: rd_kafka_resp_err_t,
    _ list: PartitionList.Pointer?
  ) {
    let partitions = PartitionList.partitions(of: list).sorted()
    switch code {
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS where isClosing: rd_kafka_assign(client, nil)
    case _ where isClosing: break
    case RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS:
      isRevocationPending = false
      _ = PartitionList().withPointer { rd_kafka_assign(client, $0) }
      add(.assigned(partitions), client)
    case RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS:
      isRevocationPending = true
      add(.revoked(partitions, lost: rd_kafka_assignment_lost(client) != 0), client)
    default:
      rd_kafka_assign(client, nil)
      add(.error(KafkaError(code, during: "rebalance the consumer group")), client)
    }
  }

  private func committed(
    _ client: OpaquePointer, _ code: rd_kafka_resp_err_t,
    _ list: PartitionList.Pointer?
  ) {
    // _NO_OFFSET: there was nothing to commit.
    guard code != RD_KAFKA_RESP_ERR_NO_ERROR, code != RD_KAFKA_RESP_ERR__NO_OFFSET else { return }
    add(
      .commitFailed(PartitionList.partitions(of: list), KafkaError(code, during: "commit offsets")), client)
  }

  private func failed(_ client: OpaquePointer, _ code: Int32, _ reason: UnsafePointer<CChar>?) {
    let code = rd_kafka_resp_err_t(rawValue: code)
    let message = reason.map { String(cString: $0) }
    guard code == RD_KAFKA_RESP_ERR__FATAL else {
      add(.error(KafkaError(code, during: "reach the Kafka brokers", message: message)), client)
      return
    }
    var text = ErrorText()
    let cause = text.write { rd_kafka_fatal_error(client, $0, $1) }
    add(.fatal(KafkaError(cause, during: "go on consuming", message: text.text, isFatal: true)), client)
  }

  private func log(_ level: Int32, _ facility: UnsafePointer<CChar>?, _ text: UnsafePointer<CChar>?) {
    guard let logger, let facility, let text else { return }
    logger(level, String(cString: facility), String(cString: text))
  }

  private func add(_ event: PollResult, _ client: OpaquePointer) {
    events.append(event)
    rd_kafka_yield(client)
  }

  private static func from(_ opaque: UnsafeMutableRawPointer?) -> ConsumerCallbacks {
    Unmanaged<ConsumerCallbacks>.fromOpaque(opaque!).takeUnretainedValue()
  }
}
