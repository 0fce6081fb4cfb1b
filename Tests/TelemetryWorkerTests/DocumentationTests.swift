import Foundation
import Telemetry
import Testing

@testable import TelemetryWorker

/// What the documentation lists, it must list whole: its tables are held against the code.
@Suite struct DocumentationTests {
  private static let catalog = "Sources/TelemetryWorker/TelemetryWorker.docc"

  private static func text(_ path: String) throws -> String {
    try String(contentsOf: repository.appendingPathComponent(path), encoding: .utf8)
  }

  @Test("README.md names every setting with its default, and under it its variable")
  func settings() throws {
    let lines = try Self.text("README.md").split(separator: "\n", omittingEmptySubsequences: false)
    for key in SettingKey.all {
      let place = try #require(
        lines.firstIndex { $0.hasPrefix("    \(key.name) ") }, "\(key.name) is missing")
      let standard = lines[place].dropFirst(4 + key.name.count).trimmingCharacters(in: .whitespaces)
      #expect(standard == (key.defaultText.isEmpty ? "none" : key.defaultText), "\(key.name)")
      let words = lines[place + 1].split(separator: " ")
      #expect(words.first.map(String.init) == key.variable, "\(key.name)")
      #expect((words.dropFirst().first == "(\(SettingKey.fileSuffix))") == key.isSecret, "\(key.name)")
    }
  }

  @Test("README.md names no variable that is none")
  func variables() throws {
    let secrets = SettingKey.all.filter(\.isSecret).map { $0.variable + SettingKey.fileSuffix }
    let known = Set(SettingKey.all.map(\.variable) + secrets + [SettingsEnvironment.config])
    let named = try Self.text("README.md").matches(of: /TELEMETRY_[A-Z_]+/).map { String($0.output) }
    #expect(Set(named).subtracting(known) == [])
  }

  @Test("Every reason of a dead letter is in the tables", arguments: ["README.md", "\(catalog)/Event.md"])
  func reasons(page: String) throws {
    let text = try Self.text(page)
    for reason in RejectionReason.allCases {
      let isListed = text.contains("\n| `\(reason.rawValue)` | ")
      #expect(isListed, "\(reason.rawValue)")
    }
  }

  @Test("Every kind of repair is in the tables", arguments: ["README.md", "\(catalog)/Event.md"])
  func repairs(page: String) throws {
    let text = try Self.text(page)
    for kind in RepairKind.allCases {
      let isListed = text.contains("\n| `\(kind.rawValue)` | ")
      #expect(isListed, "\(kind.rawValue)")
    }
  }

  @Test("Every file and folder that README.md names is there")
  func files() throws {
    let text = try Self.text("README.md")
    let named = text.matches(of: /\b(Sources|Tests|deploy|config)\/[A-Za-z0-9_.+\/\-]*[A-Za-z0-9]/)
    #expect(named.count > 20)
    for path in Set(named.map { String($0.output.0) }) {
      let exists = FileManager.default.fileExists(atPath: repository.appendingPathComponent(path).path)
      #expect(exists, "\(path)")
    }
  }
}
