import Logging

/// What happens between the worker and Kafka.
public enum ConsumerEvent: WorkerEvent, Equatable {
  /// The group gave this worker partitions, on top of those it holds.
  case assigned([PartitionLabel])
  /// The group takes partitions back; their series end. Emit it once nothing more is reported of them.
  case revoked([PartitionLabel], lost: Bool)
  /// Records were read, `bytes` being the sum of their values.
  case consumed(topic: String, records: Int, bytes: Int)
  /// Where a partition stands: the next offset as committed in Postgres, the end on the broker, and the age
  /// in seconds of the oldest record not committed. What is nil stays as it was shown. To be emitted while
  /// paused too.
  case progress(PartitionLabel, committed: Int64?, highWatermark: Int64?, lagSeconds: Double?)
  /// The broker no longer has the offsets `from ..< to`: reading goes on at `to`.
  case offsetGap(PartitionLabel, from: Int64, to: Int64)
  /// A position past the end of its partition is refused: the topic was made anew, or is another.
  case positionBeyondEnd(PartitionLabel, position: Int64, end: Int64)
  /// librdkafka reported an error it recovers from by itself, by its code's name.
  case clientError(code: String, message: String)

  func record(in metrics: WorkerMetrics) {
    let consumer = metrics.consumer
    switch self {
    case .assigned(let partitions):
      consumer.rebalances.series(RebalanceKind.assigned.rawValue).add()
      consumer.assign(partitions)
    case .revoked(let partitions, let lost):
      consumer.rebalances.series((lost ? RebalanceKind.lost : .revoked).rawValue).add()
      consumer.revoke(partitions)
    case .consumed(let topic, let records, let bytes):
      consumer.records.series(topic).add(records)
      consumer.recordBytes.series(topic).add(bytes)
    case .progress(let partition, let committed, let end, let seconds):
      consumer.progress(of: partition, committed: committed, highWatermark: end, lagSeconds: seconds)
    case .offsetGap(_, let from, let to):
      consumer.offsetGapRecords.add(Int(max(0, to - from)))
    case .positionBeyondEnd, .clientError:
      break
    }
  }

  func log(to logger: Logger) {
    switch self {
    case .assigned(let partitions):
      logger.info("partitions assigned", metadata: ["partitions": .string(Self.list(partitions))])
    case .revoked(let partitions, let lost):
      logger.log(
        level: lost ? .warning : .info, lost ? "partitions lost" : "partitions revoked",
        metadata: ["partitions": .string(Self.list(partitions))])
    case .consumed, .progress:
      break
    case .offsetGap(let partition, let from, let to):
      logger.warning(
        "records were deleted on the broker before they were read; continuing at the oldest record",
        metadata: Self.place(
          partition, ["from": .number(from), "to": .number(to), "records": .number(to - from)])
      )
    case .positionBeyondEnd(let partition, let position, let end):
      logger.error(
        "the stored position lies past the end of the partition: was the topic deleted and made anew?",
        metadata: Self.place(partition, ["position": .number(position), "end": .number(end)]))
    case .clientError(let code, let message):
      logger.warning("Kafka client error", metadata: ["code": .string(code), "reason": .string(message)])
    }
  }

  /// `topic[0 1 2] other[5]`: short, whatever the number of partitions.
  static func list(_ partitions: [PartitionLabel]) -> String {
    Dictionary(grouping: partitions, by: \.topic).sorted { $0.key < $1.key }.map { topic, members in
      "\(topic)[\(members.map(\.partition).sorted().map(String.init).joined(separator: " "))]"
    }.joined(separator: " ")
  }

  private static func place(_ partition: PartitionLabel, _ more: Logger.Metadata) -> Logger.Metadata {
    let place: Logger.Metadata = [
      "topic": .string(partition.topic), "partition": .number(partition.partition),
    ]
    return place.merging(more) { _, new in new }
  }
}
