import Foundation
import Logging

/// How log lines look.
public enum LogFormat: String, CaseIterable, Sendable {
  /// For people: time, level, message, key=value.
  case text
  /// For programs: one JSON object a line.
  case json

  /// Text when standard error is a terminal, else JSON lines.
  public static var automatic: LogFormat {
    isatty(STDERR_FILENO) == 1 ? .text : .json
  }
}

extension LogFormat {
  func line(_ entry: LogEntry) -> String {
    switch self {
    case .text: TextLine.format(entry)
    case .json: JSONLine.format(entry)
    }
  }
}

/// One log line before it is formatted.
struct LogEntry: Sendable {
  /// Microseconds since the Unix epoch.
  var time: Int64
  var level: Logger.Level
  /// The logger's label.
  var label: String
  var message: String
  var metadata: Logger.Metadata
}

/// Writes log lines in a ``LogFormat``, each whole, to standard error or wherever `output` writes.
public struct LineLogHandler: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  private let label: String
  private let format: LogFormat
  private let output: LogOutput
  private let now: @Sendable () -> Int64

  /// - Parameters:
  ///   - now: the wall clock, microseconds since the Unix epoch.
  public init(
    label: String, format: LogFormat, level: Logger.Level, output: LogOutput = .standardError,
    now: @escaping @Sendable () -> Int64 = WallClock.now
  ) {
    self.label = label
    self.format = format
    self.output = output
    self.now = now
    logLevel = level
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    var all = metadata
    if let metadataProvider { all.merge(metadataProvider.get()) { _, new in new } }
    if let own = event.metadata { all.merge(own) { _, new in new } }
    if let error = event.error { all["error"] = "\(error)" }
    let entry = LogEntry(
      time: now(), level: event.level, label: label, message: event.message.description, metadata: all)
    output.write(format.line(entry) + "\n")
  }
}
