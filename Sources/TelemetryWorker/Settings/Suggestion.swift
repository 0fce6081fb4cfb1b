/// Guesses what a misspelt name was meant to be.
enum Suggestion {
  /// The nearest candidate, if it is near enough to be meant: at most a third of the name's letters differ.
  static func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(name.lowercased().unicodeScalars)
    let limit = max(1, wanted.count / 3)
    let best =
      candidates
      .map { (candidate: $0, distance: distance(wanted, Array($0.lowercased().unicodeScalars))) }
      .min { ($0.distance, $0.candidate) < ($1.distance, $1.candidate) }
    guard let best, best.distance <= limit else { return nil }
    return best.candidate
  }

  /// " Did you mean …?", or nothing.
  static func hint(for name: String, among candidates: some Sequence<String>) -> String {
    nearest(to: name, among: candidates).map { " Did you mean \($0)?" } ?? ""
  }

  /// Letters to insert, delete, change or swap with a neighbour: the optimal string alignment distance.
  static func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
    var rows = [Array(0...right.count)]
    for i in left.indices {
      var row = [i + 1]
      for j in right.indices {
        let change = rows[i][j] + (left[i] == right[j] ? 0 : 1)
        var cost = min(rows[i][j + 1] + 1, row[j] + 1, change)
        if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
          cost = min(cost, rows[i - 1][j - 1] + 1)
        }
        row.append(cost)
      }
      rows.append(row)
    }
    return rows[left.count][right.count]
  }
}
