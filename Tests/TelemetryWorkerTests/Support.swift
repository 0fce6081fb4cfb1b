import Foundation
import Testing

@testable import TelemetryWorker

/// The folder that holds Package.swift.
let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

/// Gives the body a file with this text and removes it afterwards.
func withFile<Result>(_ text: String, _ body: (String) throws -> Result) throws -> Result {
  let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try Data(text.utf8).write(to: file)
  defer { try? FileManager.default.removeItem(at: file) }
  return try body(file.path)
}

/// The settings from a YAML text, variables and `--set`-like flags.
func load(
  yaml: String? = nil, _ environment: [String: String] = [:], flags: [String: String] = [:]
) throws -> LoadedSettings {
  let assignments = flags.sorted { $0.key < $1.key }.map {
    SettingAssignment(key: $0.key, value: .text($0.value), origin: .flag("--set"))
  }
  let source = SourceResult(assignments: assignments)
  guard let yaml else { return try SettingsLoader.load(flags: source, environment: environment) }
  return try withFile(yaml) { path in
    try SettingsLoader.load(flags: source, configPath: path, environment: environment)
  }
}

/// The problems that loading reports; none when it succeeds.
func problems(
  yaml: String? = nil, _ environment: [String: String] = [:], flags: [String: String] = [:]
) throws -> [SettingProblem] {
  do {
    _ = try load(yaml: yaml, environment, flags: flags)
    return []
  } catch let error as SettingsError {
    return error.problems
  }
}

/// The built program, which stands beside the tests.
let program: URL = {
  let runner = URL(
    fileURLWithPath: (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "")
  return runner.deletingLastPathComponent().appendingPathComponent("telemetry-worker")
}()

struct Execution {
  var code: Int32
  var output: Data
  var errors: String
}

/// Runs the program with these variables and no others. Its errors must fit into a pipe (64 KiB).
func execute(_ arguments: [String], environment: [String: String] = [:]) throws -> Execution {
  let process = Process()
  process.executableURL = program
  process.arguments = arguments
  process.environment = environment
  let (output, errors) = (Pipe(), Pipe())
  process.standardOutput = output
  process.standardError = errors
  try process.run()
  let printed = output.fileHandleForReading.readDataToEndOfFile()
  let complaints = errors.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return Execution(
    code: process.terminationStatus, output: printed, errors: String(decoding: complaints, as: UTF8.self))
}
