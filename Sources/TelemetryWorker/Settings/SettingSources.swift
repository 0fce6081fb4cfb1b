import Configuration
import Foundation
import Synchronization

/// One value that a source gives to one key.
struct SettingAssignment: Equatable, Sendable {
  var key: String
  var value: SettingValue
  var origin: SettingOrigin
}

/// What a source gave, and what of it could not even be read.
struct SourceResult: Sendable {
  var assignments: [SettingAssignment] = []
  var problems: [SettingProblem] = []

  mutating func refuse(_ key: String, _ origin: SettingOrigin, _ message: String) {
    problems.append(SettingProblem(key: key, origin: origin, message: message))
  }
}

/// A YAML file of settings. Every key it holds becomes an assignment, known or not.
enum SettingsFile {
  static func read(path: String) -> SourceResult {
    var result = SourceResult()
    let origin = SettingOrigin.file(path: path)
    do {
      let data = try TextFile.read(path: path)
      if isBlank(data) { return result }
      try add(yaml: data, origin, to: &result)
    } catch let fault as SettingFault {
      result.refuse("config", origin, fault.reason)
    } catch {
      result.refuse("config", origin, "not a YAML map of settings: " + withoutContent("\(error)"))
    }
    return result
  }

  private static func add(yaml: String, _ origin: SettingOrigin, to result: inout SourceResult) throws {
    // The snapshot cannot list its keys, but it asks of each whether it is a secret.
    let keys = Mutex<[String]>([])
    let options = YAMLSnapshot.ParsingOptions(
      secretsSpecifier: .dynamic { key, _ in
        keys.withLock { $0.append(key) }
        return true
      })
    let bytes = Array(yaml.utf8)
    let snapshot = try YAMLSnapshot(
      data: bytes.span.bytes, providerName: origin.description, parsingOptions: options)
    for (key, times) in Dictionary(grouping: keys.withLock { $0 }, by: \.self).sorted(by: { $0.key < $1.key })
    {
      if times.count > 1 { result.refuse(key, origin, "given twice, nested and with dots; give it once") }
      let value = try value(of: key, in: snapshot)
      result.assignments.append(SettingAssignment(key: key, value: value, origin: origin))
    }
  }

  private static func value(of key: String, in snapshot: YAMLSnapshot) throws -> SettingValue {
    let path = AbsoluteConfigKey([key])
    if let scalar = try? snapshot.value(forKey: path, type: .string).value,
      case .string(let text) = scalar.content
    {
      // YAML's ways to write null.
      return .text(["~", "null", "Null", "NULL"].contains(text) ? "" : text)
    }
    let list = try snapshot.value(forKey: path, type: .stringArray).value
    guard case .stringArray(let items) = list?.content else { return .text("") }
    return .list(items)
  }

  /// Whether there are only comments, which YAML takes for no map.
  private static func isBlank(_ text: String) -> Bool {
    text.split(whereSeparator: \.isNewline).allSatisfy { line in
      let content = String(line).trimmed
      return content.isEmpty || content.hasPrefix("#") || content == "---" || content == "{}"
    }
  }

  /// A YAML error without the line of the file that it shows after its message: it may hold a secret.
  private static func withoutContent(_ message: String) -> String {
    var kept: [Substring] = []
    for line in message.split(whereSeparator: \.isNewline) {
      kept.append(line)
      if line.hasSuffix(":") && line != "Context:" { break }
    }
    return kept.joined(separator: " ")
  }
}

/// The `TELEMETRY_...` variables. One that is no setting is a problem.
enum SettingsEnvironment {
  /// Names the settings file, as `--config` does.
  static let config = "TELEMETRY_CONFIG"

  static func read(_ environment: [String: String]) -> SourceResult {
    var result = SourceResult()
    let keys = Dictionary(uniqueKeysWithValues: SettingKey.all.map { ($0.variable, $0) })
    let files = Dictionary(
      uniqueKeysWithValues: SettingKey.all.filter(\.isSecret).map {
        ($0.variable + SettingKey.fileSuffix, $0)
      })
    let given = environment.filter { $0.key.hasPrefix(SettingKey.variablePrefix) && $0.key != config }
    for (name, value) in given.sorted(by: { $0.key < $1.key }) {
      if let key = keys[name] {
        result.add(key, value, .variable(name))
      } else if let key = files[name] {
        if environment[key.variable] != nil {
          result.refuse(key.name, .variable(name), "\(key.variable) is set as well; set only one of them")
        } else {
          result.addFile(key, path: value, variable: name)
        }
      } else if !isServiceLink(name, value) {
        let hint = Suggestion.hint(for: name, among: Array(keys.keys) + files.keys + [config])
        result.refuse(
          name, .variable(name),
          "not a setting.\(hint) Allowed: \(config) and the variables that run --help lists.")
      }
    }
    return result
  }

  /// Kubernetes puts the addresses of a namespace's services into every container, as TELEMETRY_SERVICE_HOST or
  /// TELEMETRY_WORKER_PORT=tcp://... when a service is called telemetry or telemetry-worker. They are no settings.
  /// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
  private static func isServiceLink(_ name: String, _ value: String) -> Bool {
    let address = /(tcp|udp|sctp):\/\/.+/
    if name.wholeMatch(of: /TELEMETRY_(.+_)?SERVICE_(HOST|PORT(_.+)?)/) != nil { return true }
    if name.wholeMatch(of: /TELEMETRY_(.+_)?PORT_\d+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR)/) != nil { return true }
    let isPort = name.wholeMatch(of: /TELEMETRY_(.+_)?PORT(_\d+_(TCP|UDP|SCTP))?/) != nil
    return isPort && value.wholeMatch(of: address) != nil
  }
}

extension SourceResult {
  fileprivate mutating func add(_ key: SettingKey, _ value: String, _ origin: SettingOrigin) {
    guard key.name == SettingKey.properties else {
      assignments.append(SettingAssignment(key: key.name, value: .text(value), origin: origin))
      return
    }
    addProperties(key, origin) { () throws(SettingFault) in try KafkaPropertyRules.parse(list: value) }
  }

  /// The value is the file's text without its last line end, or for properties its lines.
  fileprivate mutating func addFile(_ key: SettingKey, path: String, variable: String) {
    let origin = SettingOrigin.secretFile(variable: variable, path: path)
    let text: String
    do {
      text = try TextFile.read(path: path)
    } catch {
      return refuse(key.name, origin, error.reason)
    }
    if key.name == SettingKey.properties {
      addProperties(key, origin) { () throws(SettingFault) in try KafkaPropertyRules.parse(file: text) }
    } else {
      // CR LF is one Character.
      let value = text.last?.isNewline == true ? String(text.dropLast()) : text
      assignments.append(SettingAssignment(key: key.name, value: .text(value), origin: origin))
    }
  }

  private mutating func addProperties(
    _ key: SettingKey, _ origin: SettingOrigin,
    _ parse: () throws(SettingFault) -> [(name: String, value: String)]
  ) {
    do {
      assignments += try parse().map {
        SettingAssignment(key: "\(key.name).\($0.name)", value: .text($0.value), origin: origin)
      }
    } catch {
      refuse(key.name, origin, "\(error.reason); allowed: \(key.allowed)")
    }
  }
}

/// A small text file.
enum TextFile {
  /// A bigger one is no settings file but a mistake.
  private static let limit = 1 << 20

  static func read(path: String) throws(SettingFault) -> String {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
      throw SettingFault("there is no such file")
    } catch let error as CocoaError where error.code == .fileReadNoPermission {
      throw SettingFault("reading it is not permitted")
    } catch {
      throw SettingFault("it cannot be read: is it a file?")
    }
    guard data.count <= limit else { throw SettingFault("it is too large: over \(ByteSize.text(limit))") }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw SettingFault("it is not UTF-8 text")
    }
    return text
  }
}
