/// A table for people to read: plain text, numbers to the right, no wider than the terminal.
struct TextTable {
  struct Column {
    let title: String
    let isNumber: Bool

    /// Stands at the left; is cut with an ellipsis where the terminal is too narrow.
    static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
    /// Stands at the right; is never cut.
    static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
  }

  let columns: [Column]
  private(set) var rows: [[String]] = []

  /// A text column gets no narrower than this.
  private static let leastWidth = 8
  private static let gap = "  "

  init(_ columns: Column...) { self.columns = columns }
  init(_ columns: [Column]) { self.columns = columns }

  /// Adds a row; it must have as many cells as there are columns.
  mutating func add(_ cells: String...) { add(cells) }

  mutating func add(_ cells: [String]) {
    precondition(cells.count == columns.count, "a row has a cell for each column")
    rows.append(cells.map(Self.printable))
  }

  /// Lines with a line end each, at most `width` characters long if that can be done; nil is as wide as it takes.
  func rendered(width: Int?) -> String {
    let titles = columns.map(\.title)
    var widths = columns.indices.map { index in (rows + [titles]).map { $0[index].count }.max() ?? 0 }
    if let width { shrink(&widths, to: width) }
    let rule = widths.map { String(repeating: "-", count: $0) }
    return ([titles, rule] + rows).map { line($0, widths) }.joined()
  }

  /// Takes from the widest text column until the line fits.
  private func shrink(_ widths: inout [Int], to width: Int) {
    let gaps = Self.gap.count * (columns.count - 1)
    while widths.reduce(gaps, +) > width {
      let candidates = columns.indices.filter { !columns[$0].isNumber && widths[$0] > Self.leastWidth }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { return }
      widths[widest] -= 1
    }
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    let padded = columns.indices.map { index -> String in
      let cell = cells[index]
      let shown = cell.count > widths[index] ? cell.prefix(widths[index] - 1) + "…" : cell[...]
      let space = String(repeating: " ", count: widths[index] - shown.count)
      return columns[index].isNumber ? space + shown : shown + space
    }
    let line = padded.joined(separator: Self.gap)
    return line[..<(line.lastIndex { $0 != " " }.map(line.index(after:)) ?? line.startIndex)] + "\n"
  }

  /// A hostile name must not steer the terminal: control characters become U+FFFD.
  private static func printable(_ cell: String) -> String {
    guard cell.unicodeScalars.contains(where: isControl) else { return cell }
    return String(String.UnicodeScalarView(cell.unicodeScalars.map { isControl($0) ? "\u{FFFD}" : $0 }))
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}

/// Numbers as people read them.
enum NumberText {
  /// `1234567` as `1,234,567`; decimals and a sign stay as they are.
  static func grouped(_ digits: String) -> String {
    let sign = digits.hasPrefix("-") ? "-" : ""
    let whole = digits.dropFirst(sign.count).prefix { $0 != "." }
    let fraction = digits.dropFirst(sign.count + whole.count)
    var grouped = ""
    for (index, digit) in whole.enumerated() {
      if index > 0 && (whole.count - index) % 3 == 0 { grouped.append(",") }
      grouped.append(digit)
    }
    return sign + grouped + fraction
  }

  static func grouped(_ number: some BinaryInteger) -> String { grouped(String(number)) }
}
