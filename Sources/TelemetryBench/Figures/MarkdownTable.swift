/// A table in Markdown whose source reads well too: cells are padded, numbers stand at the right.
struct MarkdownTable {
  struct Column {
    let title: String
    let isNumber: Bool

    static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
    static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
  }

  private let columns: [Column]
  private var rows: [[String]] = []

  init(_ columns: [Column]) { self.columns = columns }

  mutating func add(_ cells: [String]) {
    precondition(cells.count == columns.count, "a row has a cell for each column")
    rows.append(cells)
  }

  /// Lines with a line end each.
  var rendered: String {
    let titles = columns.map(\.title)
    let widths = columns.indices.map { index in
      max(3, ([titles] + rows).map { $0[index].count }.max() ?? 0)
    }
    let rule = columns.indices.map { index in
      columns[index].isNumber
        ? String(repeating: "-", count: widths[index] - 1) + ":"
        : String(repeating: "-", count: widths[index])
    }
    return ([titles, rule] + rows).map { line($0, widths) }.joined()
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    let padded = columns.indices.map { index in
      let space = String(repeating: " ", count: widths[index] - cells[index].count)
      return columns[index].isNumber ? space + cells[index] : cells[index] + space
    }
    return "| \(padded.joined(separator: " | ")) |\n"
  }
}
