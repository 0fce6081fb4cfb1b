import Logging

extension SettingKey {
  /// Every setting, in the order in which documentation lists them.
  static let all = kafka + postgres + ingest + refresh + retention + http + log + deadLetters

  private static let kafka = [
    list(
      "kafka.brokers", \.kafka.brokers, "host or host:port, one or more", flag: "--kafka-brokers",
      "Brokers to begin with; the others are learned from them.", check: SettingCheck.broker),
    list(
      "kafka.topics", \.kafka.topics, "topic names, one or more", flag: "--kafka-topics",
      "Topics to consume.", check: SettingCheck.topic),
    text(
      "kafka.group", \.kafka.group, "a name", flag: "--kafka-group",
      "Consumer group. Replicas of one worker share it; positions are kept for each group."
    ) { _ in nil },
    value(
      "kafka.start", \.kafka.start, "earliest, latest or an RFC 3339 time",
      "Where a partition begins that has no position in Postgres yet.",
      show: { $0.text }, parse: Settings.StartPosition.parse),
    SettingKey(
      name: properties,
      summary: "Any librdkafka property (TLS, SASL, ...) but those that the worker owns.",
      allowed: "name=value pairs; a backslash stands before a comma or backslash of a value",
      flag: "--kafka-property", isSecret: true,
      read: { (raw, _) throws(SettingFault) in
        guard raw == .text("") else { throw SettingFault("not name=value pairs") }
      },
      show: { KafkaPropertyRules.shown($0.kafka.properties) }),
  ]

  private static let postgres = [
    optional(
      "postgres.url", \.postgres.url, "a libpq URI (postgresql://...) or conninfo (host=... dbname=...)",
      isSecret: true,
      "Where the database is. Nothing leaves it to libpq: its PG* variables and defaults.",
      show: Redaction.postgresURL, check: SettingCheck.postgresURL),
    text(
      "postgres.schema", \.postgres.schema, "a name that matches ^[a-z_][a-z0-9_]{0,62}$",
      flag: "--postgres-schema", "The schema that holds the tables.", check: SettingCheck.schema),
  ]

  private static let ingest = [
    integer(
      "ingest.batch_events", \.ingest.batchEvents, 1...10_000_000, unit: "events",
      "The most events in one transaction."),
    size(
      "ingest.batch_bytes", \.ingest.batchBytes, 65_536...(1 << 30),
      "The most bytes of rows that go to Postgres at once; under a backlog a transaction has several such parts."
    ),
    integer(
      "ingest.flush_ms", \.ingest.flushMs, 1...60_000, unit: "milliseconds",
      "How long an event waits for company before its transaction starts."),
    integer(
      "ingest.max_future_s", \.ingest.maxFutureSeconds, 0...31_536_000, unit: "seconds",
      "An event further ahead of now than this is a dead letter (future_time)."),
    integer(
      "ingest.max_age_days", \.ingest.maxAgeDays, 1...36_500, unit: "days",
      "An event older than this is a dead letter (past_time)."),
    list(
      "ingest.drop_fields", \.ingest.dropFields,
      "any of \(SettingCheck.droppable.joined(separator: ", "))", mayBeEmpty: true,
      "Fields that privacy forbids to store; they are read and left out.", check: SettingCheck.droppableField),
    integer(
      "ingest.shutdown_deadline_s", \.ingest.shutdownDeadlineSeconds, 1...3_600, unit: "seconds",
      "How long a stop may take to write and commit what is in hand."),
    integer(
      "ingest.recent_keys", \.ingest.recentKeys, 0...16_777_216, unit: "events",
      "Events remembered after their commit, so that repeats of them cost no database work."),
  ]

  private static let refresh = [
    optional(
      "refresh.schedule", \.refresh.schedule,
      "five cron fields (minute hour day month weekday) or a name such as @hourly",
      "When the summary views are refreshed. Nothing leaves it to refresh.after_events.",
      check: SettingCheck.schedule),
    integer(
      "refresh.after_events", \.refresh.afterEvents, 0...1_000_000_000, unit: "events; 0 is never",
      "A refresh also starts when this many events were stored since the last one."),
    integer(
      "refresh.min_interval_s", \.refresh.minIntervalSeconds, 1...86_400, unit: "seconds",
      "The least time between refreshes. It stretches so that refreshing takes at most a tenth of the time."),
    text(
      "refresh.time_zone", \.refresh.timeZone, "UTC or an IANA time zone, as Europe/Berlin",
      "The time zone that refresh.schedule is read in.", check: SettingCheck.timeZone),
  ]

  private static let retention = [
    retention("raw_days", \.retention.rawDays, "Raw rows are kept this long, whole days."),
    retention("hour_days", \.retention.hourDays, "Hour rollups are kept this long."),
    retention(
      "day_days", \.retention.dayDays, "Day rollups are kept this long. raw_days <= hour_days <= day_days."),
    retention("dead_letter_days", \.retention.deadLetterDays, "Dead letters are kept this long."),
    retention("refresh_log_days", \.retention.refreshLogDays, "The refresh log is kept this long."),
  ]

  private static func retention(_ name: String, _ path: Path<Int>, _ summary: String) -> SettingKey {
    integer("retention." + name, path, 0...36_500, unit: "days; 0 keeps all", summary)
  }

  private static let http = [
    text(
      "http.host", \.http.host, "an address or a host name",
      "Where /metrics, /live, /ready and the pages listen; 0.0.0.0 is every IPv4 address.",
      check: SettingCheck.host),
    integer("http.port", \.http.port, 0...65_535, unit: "0 takes any free port", "The port they listen on."),
  ]

  private static let log = [
    choice("log.level", \.log.level, flag: "--log-level", "The least severe messages that are logged."),
    choice(
      "log.format", \.log.format, flag: "--log-format",
      "How log lines look; auto is text on a terminal, else json."
    ),
  ]

  private static let deadLetters = [
    optional(
      "dead_letters.topic", \.deadLetters.topic, "a topic name that is not consumed",
      "A topic that dead letters are copied to, besides their table.", check: SettingCheck.topic)
  ]
}
