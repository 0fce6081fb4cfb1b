import ArgumentParser

/// The exit codes of every command. Usage errors are ArgumentParser's own, 64.
enum Exit {
  static let failed: Int32 = 1
  /// EX_TEMPFAIL of sysexits.h: stopped on the way; the same command goes on.
  static let stopped: Int32 = 75
  /// EX_CONFIG of sysexits.h: the settings are wrong.
  static let config: Int32 = 78
}

/// A command did not do its job. The message says what failed and what to do.
struct CommandFailure: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

extension Exit {
  /// Reports an error on standard error, unless it is a request for help, and ends the process with its code.
  static func end<Root: ParsableCommand>(_ root: Root.Type, with error: any Error) -> Never {
    switch error {
    case let error as SettingsError:
      Console.note("\(root._commandName): \(error)")
      root.exit(withError: ExitCode(config))
    case let error as CommandFailure:
      Console.note("\(root._commandName): \(error)")
      root.exit(withError: ExitCode(failed))
    default:
      root.exit(withError: error)
    }
  }
}
