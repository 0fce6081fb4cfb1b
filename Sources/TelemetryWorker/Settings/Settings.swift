import Logging

/// Everything that can be set, with its default. `SettingKey.all` describes each one and is how they are filled.
struct Settings: Equatable, Sendable {
  var kafka = Kafka()
  var postgres = Postgres()
  var ingest = Ingest()
  var refresh = Refresh()
  var retention = Retention()
  var http = HTTP()
  var log = Log()
  var deadLetters = DeadLetters()

  struct Kafka: Equatable, Sendable {
    var brokers = ["localhost:9092"]
    var topics = ["chat-telemetry"]
    var group = "telemetry-worker"
    var start = StartPosition.earliest
    /// librdkafka properties, by name. May hold secrets: never log the values.
    var properties: [String: String] = [:]
  }

  /// Where a partition that has no position in Postgres yet begins.
  enum StartPosition: Equatable, Sendable {
    case earliest
    case latest
    /// The first record whose timestamp is not before this; microseconds since 1970-01-01T00:00:00Z.
    case time(micros: Int64)
  }

  struct Postgres: Equatable, Sendable {
    /// A libpq URI or conninfo; nil leaves everything to libpq's own defaults and PG* variables. May hold a
    /// password: show it only through `Redaction`.
    var url: String?
    var schema = "public"
  }

  struct Ingest: Equatable, Sendable {
    var batchEvents = 1_000_000
    /// Bytes of encoded rows that go to the database at once.
    var batchBytes = 16 << 20
    /// Milliseconds an event waits for company at the live edge.
    var flushMs = 100
    var maxFutureSeconds = 3_600
    var maxAgeDays = 1_100
    var dropFields: [String] = []
    var shutdownDeadlineSeconds = 10
    /// Committed event keys remembered, so that most repeats are dropped before the database sees them.
    var recentKeys = 262_144
  }

  struct Refresh: Equatable, Sendable {
    /// Five cron fields; nil is no schedule.
    var schedule: String? = "5 * * * *"
    /// Events stored since the last refresh that cause one; 0 is never.
    var afterEvents = 10_000
    var minIntervalSeconds = 10
    /// The time zone that the schedule is read in: an IANA name.
    var timeZone = "UTC"
  }

  /// Days; 0 keeps everything.
  struct Retention: Equatable, Sendable {
    var rawDays = 30
    var hourDays = 90
    var dayDays = 400
    var deadLetterDays = 30
    var refreshLogDays = 30
  }

  struct HTTP: Equatable, Sendable {
    var host = "127.0.0.1"
    /// 0 takes any free port.
    var port = 9_464
  }

  struct Log: Equatable, Sendable {
    var level = Logger.Level.info
    var format = LogFormat.auto
  }

  struct DeadLetters: Equatable, Sendable {
    /// A topic that dead letters are copied to as well; nil is none.
    var topic: String?
  }
}

enum LogFormat: String, CaseIterable, Sendable {
  /// Text on a terminal, else JSON.
  case auto
  case text
  case json
}
