import ArgumentParser
import Foundation
import Testing

@testable import TelemetryWorker

@Suite struct SettingTableTests {
  private var example: URL { repository.appendingPathComponent("config/worker.yaml") }

  @Test("config/worker.yaml names every setting and no other, with the defaults")
  func exampleFile() throws {
    let source = SettingsFile.read(path: example.path)
    #expect(source.problems.isEmpty)
    // An empty map has no keys of its own.
    #expect(try String(contentsOf: example, encoding: .utf8).contains("\n  properties: {}\n"))
    #expect(Set(source.assignments.map(\.key) + ["kafka.properties"]) == Set(SettingKey.all.map(\.name)))
    #expect(try SettingsLoader.load(configPath: example.path).settings == Settings())
  }

  @Test("Every default, written as text, is a value that the setting takes")
  func defaultsAreAllowed() throws {
    for key in SettingKey.all where !key.isSecret {
      var settings = Settings()
      try key.read(.text(key.defaultText), &settings)
      #expect(settings == Settings(), "\(key.name)")
    }
  }

  @Test("No two settings share a name or a variable, and the secret ones are known")
  func names() {
    let keys = SettingKey.all
    #expect(Set(keys.map(\.name)).count == keys.count)
    #expect(Set(keys.map(\.variable)).count == keys.count)
    #expect(keys.filter(\.isSecret).map(\.name) == ["kafka.properties", "postgres.url"])
    #expect(SettingKey.named("ingest.batch_events")?.variable == "TELEMETRY_INGEST_BATCH_EVENTS")
  }

  @Test("run --help lists every setting, and the flags of the table exist")
  func help() {
    let help = RunCommand.helpMessage(columns: 100)
    for key in SettingKey.all {
      #expect(help.contains("  \(key.name) ["), "\(key.name)")
      if let flag = key.flag { #expect(help.contains("  \(flag) <"), "\(flag)") }
    }
  }

  @Test("Every command's help has an example, and so has every subcommand's")
  func examples() {
    func commands(of parent: any ParsableCommand.Type) -> [any ParsableCommand.Type] {
      parent.configuration.subcommands.flatMap { [$0] + commands(of: $0) }
    }
    let all = commands(of: TelemetryWorker.self)
    #expect(all.count > 10)
    #expect(Set(all.map { ObjectIdentifier($0) }).count == all.count, "each is listed once")
    for command in all {
      let help = command.helpMessage()
      #expect(help.contains("Example") && help.contains(":\n  telemetry-worker "), "\(command)")
    }
  }

  @Test(
    "A file of comments and empty sections sets nothing",
    arguments: [
      "", "# nothing\n---\n", "kafka:\n  # group: x\npostgres:\n  url:\n", "dead_letters: {topic: ~}",
    ])
  func emptyFiles(yaml: String) throws {
    #expect(try load(yaml: yaml).settings == Settings())
  }

  @Test("A file that is no map of settings is refused", arguments: ["- a", "42", "kafka: [{brokers: a}]"])
  func notAMap(yaml: String) throws {
    #expect(try problems(yaml: yaml).map(\.key) == ["config"])
  }

  @Test(
    "A guess is made only for names that are near",
    arguments: [
      ("kafka.brokres", "kafka.brokers"), ("log.levle", "log.level"), ("zzz", nil), ("retention", nil),
    ])
  func suggestions(name: String, expected: String?) {
    #expect(Suggestion.nearest(to: name, among: SettingKey.all.map(\.name)) == expected)
  }
}
