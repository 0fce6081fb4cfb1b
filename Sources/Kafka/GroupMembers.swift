import CRdKafka

/// A client that is in a consumer group now.
public struct GroupMember: Hashable, Sendable {
  /// Its `client.id`.
  public let clientID: String
  /// Where it connects from, as its broker sees it.
  public let host: String
}

extension Consumer {
  /// Who is in a group, by asking every broker; a consumer that only reads, without `subscribe`, is not. A member
  /// that was killed counts until its session times out. Waits for at most `timeoutMs`, without polling.
  ///
  /// - Returns: nil when the brokers do not offer to tell. Empty for a group that nobody knows.
  public func members(ofGroup group: String, timeoutMs: Int32) throws(KafkaError) -> [GroupMember]? {
    try client.members(ofGroup: group, timeoutMs: timeoutMs)
  }
}

extension Client {
  // Not rd_kafka_DescribeConsumerGroups: after it, librdkafka 2.0.2 never ends a client whose brokers do not offer it.
  fileprivate func members(ofGroup group: String, timeoutMs: Int32) throws(KafkaError) -> [GroupMember]? {
    let operation = "describe the consumer group \"\(group)\""
    var list: UnsafePointer<rd_kafka_group_list>?
    let code = rd_kafka_list_groups(handle, group, &list, timeoutMs)
    if code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE { return nil }
    // _PARTIAL, when some brokers did not answer, is a failure too: the group may be theirs.
    try check(code, operation)
    defer { rd_kafka_group_list_destroy(list) }
    var members: [GroupMember] = []
    guard let found = list?.pointee else { return members }
    for group in UnsafeBufferPointer(start: found.groups, count: Int(found.group_cnt)) {
      try check(group.err, operation)
      for member in UnsafeBufferPointer(start: group.members, count: Int(group.member_cnt)) {
        members.append(
          GroupMember(
            clientID: String(cString: member.client_id), host: String(cString: member.client_host)))
      }
    }
    return members
  }
}
