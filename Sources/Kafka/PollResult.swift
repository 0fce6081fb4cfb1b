/// What one `Consumer.poll` brought.
public enum PollResult: Sendable, Equatable {
  /// Nothing came in the time given, or `ConsumerWaker.wake` was called.
  case timeout
  /// A record was handed to the closure.
  case record
  /// Everything the partition holds was delivered; `offset` is where its next record will be. Comes again
  /// each time the end is reached anew.
  case endOfPartition(TopicPartition, offset: Int64)
  /// The group gave these partitions, all of them. None is fetched before `assign` says from where.
  case assigned([TopicPartition])
  /// The group takes these partitions, all there are. Fetching has stopped; the group waits for `unassign`
  /// (at most `max.poll.interval.ms`), so write what is pending first. `lost` means that another member may
  /// already own them: what is pending will be redone there.
  case revoked([TopicPartition], lost: Bool)
  /// The partition has no record at its position (nil when there was none), and it stands still until `seek`
  /// or `assign` gives another.
  case offsetOutOfRange(TopicPartition, offset: Int64?)
  /// An offset commit did not reach the group.
  case commitFailed([TopicPartition], KafkaError)
  /// librdkafka's statistics, one JSON object; comes only when `statistics.interval.ms` is set.
  case statistics(json: String)
  /// Something went wrong that librdkafka keeps retrying by itself, such as a broker it cannot reach.
  case error(KafkaError)
  /// The consumer is of no more use: close it and make a new one.
  case fatal(KafkaError)
}
