/// The settings in force, and where each that is no default came from.
struct LoadedSettings: Equatable, Sendable {
  var settings = Settings()
  /// By key; a property of librdkafka as `kafka.properties.<name>`.
  var origins: [String: SettingOrigin] = [:]

  /// Every setting as text, secrets left out, and where it came from; for people.
  var shown: [(key: String, value: String, origin: SettingOrigin)] {
    SettingKey.all.map { key in
      let origin = origins[key.name] ?? origins.first { $0.key.hasPrefix(key.name + ".") }?.value
      return (key.name, key.show(settings), origin ?? .standard)
    }
  }
}

/// Puts the settings together: flags over environment over file over defaults. Reports everything wrong at once.
struct SettingsLoader {
  private var loaded = LoadedSettings()
  private var problems: [SettingProblem] = []

  /// - Parameters:
  ///   - flags: What the command line gave, in order.
  ///   - configPath: The value of `--config`; without it `TELEMETRY_CONFIG` names the file, and without that none is
  ///     read.
  ///   - environment: All variables of the process.
  static func load(
    flags: SourceResult = SourceResult(), configPath: String? = nil, environment: [String: String] = [:]
  ) throws(SettingsError) -> LoadedSettings {
    var loader = SettingsLoader()
    if let path = configPath ?? environment[SettingsEnvironment.config] {
      loader.apply(SettingsFile.read(path: path))
    }
    loader.apply(SettingsEnvironment.read(environment))
    loader.refuseRepeated(flags.assignments)
    loader.apply(flags)
    loader.crossCheck()
    if !loader.problems.isEmpty { throw SettingsError(problems: loader.problems) }
    return loader.loaded
  }

  private mutating func apply(_ result: SourceResult) {
    problems += result.problems
    for assignment in result.assignments {
      do {
        try apply(assignment)
        loaded.origins[assignment.key] = assignment.origin
      } catch {
        problems.append(SettingProblem(key: assignment.key, origin: assignment.origin, message: error.reason))
      }
    }
  }

  private mutating func apply(_ assignment: SettingAssignment) throws(SettingFault) {
    let (name, value) = (assignment.key, assignment.value)
    if let property = name.suffix(after: SettingKey.properties + ".") {
      try apply(property: property, value, assignment.origin)
    } else if let key = SettingKey.named(name) {
      if case .flag = assignment.origin, key.isSecret {
        let file = key.variable + SettingKey.fileSuffix
        throw SettingFault(
          "it may hold a secret, which must not be a process argument; use \(key.variable) or \(file)")
      }
      do {
        try key.read(value, &loaded.settings)
      } catch {
        let shown = key.isSecret ? "the value" : value.shown
        throw SettingFault("\(shown) is \(error.reason); allowed: \(key.allowed)")
      }
    } else if !(SettingKey.sections.contains(name) && value == .text("")) {
      throw SettingFault(Self.unknown(name))
    }
  }

  private mutating func apply(
    property name: String, _ value: SettingValue, _ origin: SettingOrigin
  ) throws(SettingFault) {
    if let refusal = KafkaPropertyRules.refusal(name: name, origin: origin) { throw SettingFault(refusal) }
    guard let text = value.text else { throw SettingFault("the value is a list; allowed: one text") }
    if text.utf8.contains(0) { throw SettingFault("the value has a zero byte; allowed: text without it") }
    loaded.settings.kafka.properties[name] = text
  }

  private static func unknown(_ name: String) -> String {
    if SettingKey.sections.contains(name) {
      let names = SettingKey.all.map(\.name).filter { $0.hasPrefix(name + ".") }
      return "a section, not a setting; allowed: \(names.joined(separator: ", "))"
    }
    if let parent = SettingKey.all.first(where: { name.hasPrefix($0.name + ".") }) {
      return "unknown setting: \(parent.name) takes no keys; allowed: \(parent.allowed)"
    }
    let last = name.split(separator: ".").last ?? ""
    let sameName = SettingKey.all.filter { $0.name.hasSuffix("." + last) }.map(\.name)
    let hint =
      sameName.count == 1
      ? " Did you mean \(sameName[0])?" : Suggestion.hint(for: name, among: SettingKey.all.map(\.name))
    return "unknown setting.\(hint) Allowed: the settings that run --help lists."
  }

  private mutating func refuseRepeated(_ flags: [SettingAssignment]) {
    for (index, flag) in flags.enumerated() {
      if let earlier = flags[..<index].first(where: { $0.key == flag.key }) {
        let message = "given twice on the command line (\(earlier.origin)); give it once"
        problems.append(SettingProblem(key: flag.key, origin: flag.origin, message: message))
      }
    }
  }

  // MARK: Settings that must fit together

  private mutating func crossCheck() {
    let retention = loaded.settings.retention
    requireOrder("retention.raw_days", retention.rawDays, "retention.hour_days", retention.hourDays)
    requireOrder("retention.hour_days", retention.hourDays, "retention.day_days", retention.dayDays)
    if let topic = loaded.settings.deadLetters.topic, loaded.settings.kafka.topics.contains(topic) {
      refuse(
        "dead_letters.topic",
        "\(Redaction.quoted(topic)) is consumed as well (kafka.topics); name another topic")
    }
  }

  /// 0 keeps all, so it is the longest.
  private mutating func requireOrder(_ short: String, _ shortDays: Int, _ long: String, _ longDays: Int) {
    let isWrong = longDays != 0 && (shortDays == 0 || shortDays > longDays)
    guard isWrong, !problems.contains(where: { [short, long].contains($0.key) }) else { return }
    refuse(
      short,
      "\(shortDays == 0 ? "0 (keep all)" : "\(shortDays)") is longer than \(long), \(longDays) "
        + "(\(origin(long))); allowed: raw_days <= hour_days <= day_days, where 0 keeps all")
  }

  private mutating func refuse(_ key: String, _ message: String) {
    problems.append(SettingProblem(key: key, origin: origin(key), message: message))
  }

  private func origin(_ key: String) -> SettingOrigin { loaded.origins[key] ?? .standard }
}

extension String {
  /// What follows the prefix, if it begins with it.
  func suffix(after prefix: String) -> String? {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
  }
}
