import Coordinator
import Foundation

/// What a text must be. Each returns why it is not, as the end of "the value is …", or nil.
enum SettingCheck {
  /// `host`, `host:port` or `[IPv6]:port`, as librdkafka's bootstrap.servers takes it.
  static func broker(_ text: String) -> String? {
    var host = text[...]
    if let bracket = text.lastIndex(of: "]") {
      guard text.hasPrefix("[") else { return "not host:port" }
      host = text[...bracket]
    } else if let colon = text.firstIndex(of: ":") {
      host = text[..<colon]
    }
    let rest = text[host.endIndex...]
    guard !host.isEmpty, !host.contains(where: { $0.isWhitespace || $0 == "/" }) else {
      return "not host:port"
    }
    guard !rest.isEmpty else { return nil }
    guard rest.first == ":", SettingKey.isInteger(String(rest.dropFirst())) else { return "not host:port" }
    guard let port = Int(rest.dropFirst()), (1...65_535).contains(port) else {
      return "not host:port: the port must be 1 to 65535"
    }
    return nil
  }

  /// Kafka's rule for topic names: org.apache.kafka.common.internals.Topic.
  static func topic(_ text: String) -> String? {
    let legal = text.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
        true
      default: false
      }
    }
    if legal && text.utf8.count <= 249 && text != "." && text != ".." { return nil }
    return "not a topic name: up to 249 of a-z A-Z 0-9 . _ -"
  }

  static func schema(_ text: String) -> String? {
    text.wholeMatch(of: /[a-z_][a-z0-9_]{0,62}/) == nil ? "not such a name" : nil
  }

  /// Only what libpq would not even try; the rest is libpq's to judge.
  static func postgresURL(_ text: String) -> String? {
    if let scheme = text.firstRange(of: "://") {
      let known = ["postgres", "postgresql"].contains(String(text[..<scheme.lowerBound]))
      return known ? nil : "not a postgresql:// URI"
    }
    return text.contains("=") ? nil : "neither a URI nor a conninfo"
  }

  /// The fields that may be left out: the texts that may be null and say nothing of the rollups.
  static let droppable = ["conversation_id", "error", "user_agent", "ip_address"]

  static func droppableField(_ text: String) -> String? {
    droppable.contains(text) ? nil : "none of these"
  }

  /// What the coordinator would refuse at its start; the zone plays no part in it.
  static func schedule(_ text: String) -> String? {
    do throws(CronError) {
      _ = try CronSchedule(text)
      return nil
    } catch {
      return "not a schedule: \(error)"
    }
  }

  static func timeZone(_ text: String) -> String? {
    if text == "UTC" { return nil }
    guard text.wholeMatch(of: /[A-Za-z][A-Za-z0-9_+\/\-]*/) != nil else { return "not a time zone's name" }
    do throws(CronError) {
      _ = try CronZone(text)
      return nil
    } catch {
      return "not a time zone (is tzdata installed?)"
    }
  }

  static func host(_ text: String) -> String? {
    text.contains { $0.isWhitespace || $0 == "/" } ? "not a host" : nil
  }
}

extension Settings.StartPosition {
  static func parse(_ text: String) throws(SettingFault) -> Self {
    switch text {
    case "earliest": return .earliest
    case "latest": return .latest
    default:
      guard let micros = Timestamp.parse(text) else { throw SettingFault("none of these") }
      return .time(micros: micros)
    }
  }

  var text: String {
    switch self {
    case .earliest: "earliest"
    case .latest: "latest"
    case .time(let micros): Timestamp.text(micros: micros)
    }
  }
}
