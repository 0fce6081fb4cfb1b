import Postgres
import Telemetry

/// Stores dead letters, each once whatever is replayed: their coordinates are unique.
struct DeadLetterInsert {
  let schema: Schema

  /// Payloads that are kept of the events of one dropped day; the rest is counted only.
  static let keptPayloadsPerDay = 1_000

  /// The statements for one transaction; none when there is nothing to store.
  func statements(_ letters: [DeadLetter]) -> [Statement] {
    guard !letters.isEmpty else { return [] }
    let days = Set(letters.compactMap(\.eventDay)).sorted()
    return (days.isEmpty ? [] : [lockDays(days)]) + [insert(letters)]
  }

  /// Locks the days' counters in one order for everybody.
  private func lockDays(_ days: [Int32]) -> Statement {
    var parameters = Parameters()
    parameters.array(of: .date, count: days.count)
    for day in days { parameters.element(day - postgresEpochDays) }
    return Statement(
      "SELECT FROM \(schema.daysTable) WHERE day = ANY ($1) ORDER BY day FOR UPDATE", parameters,
      operation: "lock the marks of dropped days")
  }

  private func insert(_ letters: [DeadLetter]) -> Statement {
    Statement(
      """
      WITH arrived AS (
        SELECT *
        FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::bytea[], $6::bytea[], $7::integer[],
          $8::text[], $9::text[], $10::text[], $11::date[])
          AS u (topic, partition, record_offset, record_timestamp, key, payload, payload_bytes, headers, reason, detail,
            event_day)
      ), letter AS (
        -- Without those of a dropped day that are there already: they count once. The day's lock is held, so that
        -- nobody adds one meanwhile.
        SELECT a.*, row_number() OVER (PARTITION BY a.event_day ORDER BY a.topic, a.partition, a.record_offset) AS nth
        FROM arrived AS a
        WHERE a.event_day IS NULL OR NOT EXISTS (
          SELECT FROM \(schema.deadLettersTable) AS d
          WHERE d.topic = a.topic AND d.partition = a.partition AND d.record_offset = a.record_offset
            AND d.record_timestamp IS NOT DISTINCT FROM a.record_timestamp)
      ), late AS (
        UPDATE \(schema.daysTable) AS d SET late_events = d.late_events + new.events
        FROM (SELECT event_day, count(*) AS events FROM letter WHERE event_day IS NOT NULL GROUP BY event_day) AS new
        WHERE d.day = new.event_day
        RETURNING d.day, d.late_events - new.events AS before
      )
      INSERT INTO \(schema.deadLettersTable) (topic, partition, record_offset, record_timestamp, key, payload,
        payload_bytes, headers, reason, detail, event_day)
      SELECT topic, partition, record_offset, record_timestamp, key,
        CASE WHEN coalesce(late.before, 0) + nth <= \(Self.keptPayloadsPerDay) OR event_day IS NULL THEN payload END,
        payload_bytes, headers::jsonb, reason, detail, event_day
      FROM letter LEFT JOIN late ON late.day = letter.event_day
      ORDER BY topic, partition, record_offset
      ON CONFLICT (topic, partition, record_offset) DO NOTHING
      """, parameters(letters), operation: "store dead letters")
  }

  private func parameters(_ letters: [DeadLetter]) -> Parameters {
    var parameters = Parameters()
    let count = letters.count
    parameters.array(of: .text, count: count)
    for letter in letters { parameters.element(letter.topic) }
    parameters.array(of: .int4, count: count)
    for letter in letters { parameters.element(letter.partition) }
    parameters.array(of: .int8, count: count)
    for letter in letters { parameters.element(letter.offset) }
    parameters.array(of: .timestamptz, count: count)
    for letter in letters { parameters.element(recordTimestampMs: letter.timestampMs) }
    parameters.array(of: .bytea, count: count)
    for letter in letters { parameters.element(letter.key) }
    parameters.array(of: .bytea, count: count)
    for letter in letters { parameters.element(letter.payload) }
    parameters.array(of: .int4, count: count)
    for letter in letters { parameters.element(Int32(clamping: letter.payloadCount)) }
    parameters.array(of: .text, count: count)
    for letter in letters { parameters.element(letter.headersJSON) }
    parameters.array(of: .text, count: count)
    for letter in letters { parameters.element(letter.reason.rawValue) }
    parameters.array(of: .text, count: count)
    for letter in letters { parameters.element(letter.detail) }
    parameters.array(of: .date, count: count)
    for letter in letters { parameters.element(letter.eventDay.map { $0 - postgresEpochDays }) }
    return parameters
  }
}
