import Postgres
import Telemetry

/// The backfills that Postgres knows of. Not Sendable: as its connection.
public struct BackfillJobs {
  let connection: Connection
  let schema: Schema

  public init(connection: Connection, schema: Schema) {
    self.connection = connection
    self.schema = schema
  }

  // MARK: Reading

  /// The job of that name; nil when there is none.
  public func load(_ name: String) throws(PostgresError) -> BackfillJob? {
    var parameters = Parameters()
    parameters.append(name)
    let row = try connection.query(
      """
      SELECT array_to_string(topics, ','), array_to_string(partitions, ','), from_given, to_given,
        \(Self.millis("from_time")), \(Self.millis("to_time")), \(Self.text("started_at")), \(Self.text("finished_at"))
      FROM \(schema.backfillJobsTable) WHERE job = $1
      """, parameters, operation: "read the backfill \(name)"
    ).rows.first
    guard let row else { return nil }
    // No topic's name has a comma.
    let request = BackfillRequest(
      topics: row.text(0).split(separator: ",").map(String.init),
      partitions: row[1]?.split(separator: ",").compactMap { Int32($0) }, from: row.text(2), to: row.text(3))
    var job = BackfillJob(
      name: name, request: request, fromMs: row.intOrNil(4), toMs: row.intOrNil(5),
      partitions: try partitions(of: name))
    job.startedAt = row[6]
    job.finishedAt = row[7]
    return job
  }

  private func partitions(of job: String) throws(PostgresError) -> [BackfillPartition] {
    var parameters = Parameters()
    parameters.append(job)
    parameters.append(BackfillJob.group(of: job))
    return try connection.query(
      """
      SELECT p.topic, p.partition, p.start_offset, p.end_offset, coalesce(o.next_offset, p.start_offset),
        p.stored, p.duplicate, p.dead_letter, p.skipped, p.out_of_range, p.missing
      FROM \(schema.backfillPartitionsTable) AS p
      LEFT JOIN \(schema.offsetsTable) AS o
        ON o.consumer_group = $2 AND o.topic = p.topic AND o.partition = p.partition
      WHERE p.job = $1 ORDER BY p.topic COLLATE "C", p.partition
      """, parameters, operation: "read the partitions of the backfill \(job)"
    ).rows.map { row in
      var partition = BackfillPartition(
        name: TopicPartitionName(topic: row.text(0), partition: Int32(row.int(1))), start: row.int(2),
        end: row.int(3))
      partition.next = row.int(4)
      partition.counts.stored = row.int(5)
      partition.counts.duplicate = row.int(6)
      partition.counts.deadLetter = row.int(7)
      partition.counts.skipped = row.int(8)
      partition.counts.outOfRange = row.int(9)
      partition.counts.missing = row.int(10)
      return partition
    }
  }

  // MARK: Changing

  /// Enters a job with its partitions and its first positions.
  /// - Throws: `PostgresError`; a unique violation when there is such a job, or such a consumer group, already.
  public func create(_ job: BackfillJob, clusterID: String?) throws(PostgresError) {
    let sorted = job.partitions
    do throws(PostgresError) {
      try connection.pipeline([
        Statement("BEGIN ISOLATION LEVEL READ COMMITTED", operation: "begin a transaction"),
        IngestTransaction.settings,
        insertJob(job), insertPartitions(job.name, sorted),
        Positions.insertStatement(
          schema, group: job.group, sorted.map { ($0.name, $0.start) }, clusterID: clusterID,
          keepingPresent: false),
        Statement("COMMIT", operation: "commit the backfill \(job.name)"),
      ])
    } catch {
      if !error.connectionLost, connection.isInTransaction {
        try connection.execute("ROLLBACK", operation: "roll back")
      }
      throw error
    }
  }

  /// Makes the job this process's own, and no other's.
  public func takeUp(_ name: String) throws(PostgresError) -> BackfillClaim {
    var parameters = Parameters()
    parameters.append(name)
    let row = try connection.transaction(
      Statement(
        "UPDATE \(schema.backfillJobsTable) SET run = run + 1 WHERE job = $1 RETURNING run", parameters,
        operation: "take up the backfill \(name)")
    ).rows[0]
    return BackfillClaim(job: name, run: row.int(0))
  }

  /// Notes that nothing is left to do.
  /// - Throws: `PostgresError`, `BackfillTakenOver`.
  public func finish(_ claim: BackfillClaim) throws {
    var parameters = Parameters()
    parameters.append(claim.job)
    parameters.append(claim.run)
    let result = try connection.transaction(
      Statement(
        "UPDATE \(schema.backfillJobsTable) SET finished_at = now() WHERE job = $1 AND run = $2", parameters,
        operation: "finish the backfill \(claim.job)"))
    if result.affected == 0 { throw BackfillTakenOver(job: claim.job) }
  }

  // MARK: The statements

  private func insertJob(_ job: BackfillJob) -> Statement {
    var parameters = Parameters()
    parameters.append(job.name)
    parameters.append(job.group)
    parameters.array(of: .text, count: job.request.topics.count)
    for topic in job.request.topics { parameters.element(topic) }
    let partitions = job.request.partitions ?? []
    parameters.array(of: .int4, count: partitions.count)
    for partition in partitions { parameters.element(partition) }
    parameters.append(job.request.from)
    parameters.append(job.request.to)
    for time in [job.fromMs, job.toMs] {
      parameters.append(time.map { $0 * 1_000 - postgresEpochMicros }, as: .timestamptz)
    }
    return Statement(
      """
      INSERT INTO \(schema.backfillJobsTable)
        (job, consumer_group, topics, partitions, from_given, to_given, from_time, to_time)
      VALUES ($1, $2, $3, nullif($4, '{}'), $5, $6, $7, $8)
      """, parameters, operation: "enter the backfill \(job.name)")
  }

  private func insertPartitions(_ job: String, _ partitions: [BackfillPartition]) -> Statement {
    var parameters = Parameters()
    parameters.append(job)
    parameters.appendNames(partitions.map(\.name))
    parameters.array(of: .int8, count: partitions.count)
    for each in partitions { parameters.element(each.start) }
    parameters.array(of: .int8, count: partitions.count)
    for each in partitions { parameters.element(each.end) }
    return Statement(
      """
      INSERT INTO \(schema.backfillPartitionsTable) (job, topic, partition, start_offset, end_offset)
      SELECT $1, * FROM unnest($2, $3, $4, $5)
      """, parameters, operation: "enter the partitions of the backfill \(job)")
  }

  private static func text(_ time: String) -> String {
    "to_char(\(time) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
  }

  private static func millis(_ time: String) -> String { "(extract(epoch FROM \(time)) * 1000)::bigint" }
}

/// What a backfill adds to the transaction of a batch.
extension BackfillClaim {
  /// Reads the run and keeps it from changing until the COMMIT.
  func lockStatement(_ schema: Schema) -> Statement {
    var parameters = Parameters()
    parameters.append(job)
    return Statement(
      "SELECT run FROM \(schema.backfillJobsTable) WHERE job = $1 FOR SHARE", parameters,
      operation: "look who works on the backfill \(job)")
  }

  /// Adds what became of a batch's records to the job.
  func countStatement(_ schema: Schema, _ counts: [(TopicPartitionName, BackfillCounts)]) -> Statement {
    var parameters = Parameters()
    parameters.append(job)
    parameters.appendNames(counts.map(\.0))
    let columns: [(name: String, value: KeyPath<BackfillCounts, Int64>)] = [
      ("stored", \.stored), ("duplicate", \.duplicate), ("dead_letter", \.deadLetter), ("skipped", \.skipped),
      ("out_of_range", \.outOfRange), ("missing", \.missing),
    ]
    for column in columns {
      parameters.array(of: .int8, count: counts.count)
      for each in counts { parameters.element(each.1[keyPath: column.value]) }
    }
    let names = columns.map(\.name).joined(separator: ", ")
    let sums = columns.map { "\($0.name) = p.\($0.name) + u.\($0.name)" }.joined(separator: ", ")
    return Statement(
      """
      UPDATE \(schema.backfillPartitionsTable) AS p SET \(sums)
      FROM unnest($2, $3, $4, $5, $6, $7, $8, $9) AS u (topic, partition, \(names))
      WHERE p.job = $1 AND p.topic = u.topic AND p.partition = u.partition
      """, parameters, operation: "count the records of the backfill \(job)")
  }
}
