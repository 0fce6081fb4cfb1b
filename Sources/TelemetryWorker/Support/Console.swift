import Foundation

/// The terminal, or what stands in its place.
enum Console {
  static func print(_ text: String) { write(text, to: .standardOutput) }

  /// Text with a line end on standard error.
  static func note(_ text: String) { write(text + "\n", to: .standardError) }

  /// A line on the terminal at standard error in place of the one before; an empty one takes that away.
  static func status(_ line: String) { write("\r" + line + "\u{1B}[K", to: .standardError) }

  /// Prints a value as JSON for programs: keys in order, slashes as they are, one line end.
  static func printJSON(_ value: some Encodable) throws {
    print(try json(value))
  }

  static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
  }

  /// Columns of the terminal that standard output is; nil when it is none.
  static var width: Int? {
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return nil }
    return Int(size.ws_col)
  }

  /// Whoever reads the output may be gone; there is nobody left to tell.
  private static func write(_ text: String, to handle: FileHandle) {
    try? handle.write(contentsOf: Data(text.utf8))
  }
}
