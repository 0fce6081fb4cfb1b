import ArgumentParser
import Foundation

/// The options about settings, the same for every command. No secret is an option: others can read a process's
/// arguments.
struct SettingsOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Read settings from this YAML file (TELEMETRY_CONFIG).", valueName: "file"))
  var config: String?

  @Option(help: ArgumentHelp("Brokers to begin with, separated by commas.", valueName: "host:port,..."))
  var kafkaBrokers: String?

  @Option(help: ArgumentHelp("Topics to consume, separated by commas.", valueName: "topic,..."))
  var kafkaTopics: String?

  @Option(help: ArgumentHelp("Consumer group.", valueName: "name"))
  var kafkaGroup: String?

  @Option(
    name: .customLong("kafka-property"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("Set a librdkafka property; no secrets. Repeatable.", valueName: "name=value"))
  var kafkaProperties: [String] = []

  @Option(help: ArgumentHelp("The schema that holds the tables.", valueName: "name"))
  var postgresSchema: String?

  @Option(help: ArgumentHelp("The least severe messages that are logged.", valueName: "level"))
  var logLevel: String?

  @Option(help: ArgumentHelp("How log lines look: auto, text or json.", valueName: "format"))
  var logFormat: String?

  @Option(
    name: .customLong("set"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Set any setting that is no secret, as ingest.flush_ms=50. Repeatable.", valueName: "key=value"))
  var assignments: [String] = []

  /// The settings from these options, the environment and the file.
  func load(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> Settings {
    try loadWithOrigins(environment: environment).settings
  }

  /// The settings, and where each came from.
  func loadWithOrigins(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws(SettingsError) -> LoadedSettings {
    try SettingsLoader.load(flags: flags(), configPath: config, environment: environment)
  }

  private func flags() -> SourceResult {
    let named = [
      ("kafka.brokers", kafkaBrokers), ("kafka.topics", kafkaTopics), ("kafka.group", kafkaGroup),
      ("postgres.schema", postgresSchema), ("log.level", logLevel), ("log.format", logFormat),
    ]
    var result = SourceResult()
    for case (let key, let value?) in named {
      let origin = SettingOrigin.flag(SettingKey.named(key)?.flag ?? "--set")
      result.assignments.append(SettingAssignment(key: key, value: .text(value), origin: origin))
    }
    addPairs(kafkaProperties, prefix: SettingKey.properties + ".", flag: "--kafka-property", to: &result)
    addPairs(assignments, prefix: "", flag: "--set", to: &result)
    return result
  }

  private func addPairs(_ texts: [String], prefix: String, flag: String, to result: inout SourceResult) {
    for text in texts {
      if let pair = KafkaPropertyRules.pair(text) {
        let key = prefix + pair.name
        result.assignments.append(SettingAssignment(key: key, value: .text(pair.value), origin: .flag(flag)))
      } else {
        // The text is not shown: it may be a secret that lost its name.
        let problem = SettingProblem(key: flag, origin: nil, message: "not name=value; allowed: name=value")
        result.problems.append(problem)
      }
    }
  }
}

extension SettingKey {
  /// All settings for `--help`: name, default, what it is for and takes.
  static var reference: String {
    let entries = all.map { key in
      let standard = key.defaultText.isEmpty ? "none" : key.defaultText
      return "  \(key.name) [\(standard)]\n" + wrapped("\(key.summary) Takes \(key.allowed).", indent: 6)
    }
    return """
      Settings: flags (--set key=value) over environment over file over defaults, here in brackets. The variable of \
      ingest.flush_ms is TELEMETRY_INGEST_FLUSH_MS. TELEMETRY_POSTGRES_URL_FILE and TELEMETRY_KAFKA_PROPERTIES_FILE \
      name files that hold the secret ones.

      """ + entries.joined(separator: "\n")
  }

  /// ArgumentParser wraps at the terminal's width without indentation, so this wraps before it does.
  private static func wrapped(_ text: String, indent: Int, width: Int = 79) -> String {
    var lines: [String] = []
    for word in text.split(separator: " ") {
      if let line = lines.last, line.count + 1 + word.count <= width {
        lines[lines.count - 1] = "\(line) \(word)"
      } else {
        lines.append(String(repeating: " ", count: indent) + word)
      }
    }
    return lines.joined(separator: "\n")
  }
}
