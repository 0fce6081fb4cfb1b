import Store

/// What the command line asks to replay; what is nil was not given.
struct BackfillSelection: Equatable, Sendable {
  var job: String?
  var topics: [String]?
  var partitions: [Int32]?
  var from: BackfillBound?
  var to: BackfillBound?

  static let earliest = "earliest"
  static let latest = "latest"

  /// What a new job replays.
  func request(topics standard: [String]) -> BackfillRequest {
    BackfillRequest(
      topics: Set(topics ?? standard).sorted(), partitions: partitions.map { Set($0).sorted() },
      from: from?.text ?? Self.earliest, to: to?.text ?? Self.latest)
  }

  /// What was asked for and differs from the job that is stored; empty when that job may be gone on with.
  func differences(from stored: BackfillRequest) -> [String] {
    var differences: [String] = []
    func compare(_ option: String, _ asked: String?, _ stored: String) {
      guard let asked, asked != stored else { return }
      differences.append("\(option) is \(asked), the job has \(stored)")
    }
    compare("--from", from?.text, stored.from)
    compare("--to", to?.text, stored.to)
    compare(
      "--topic", topics.map { Set($0).sorted().joined(separator: ",") }, stored.topics.joined(separator: ","))
    compare(
      "--partition", partitions.map { Self.list(Set($0).sorted()) }, stored.partitions.map(Self.list) ?? "all"
    )
    return differences
  }

  private static func list(_ partitions: [Int32]) -> String {
    partitions.map(String.init).joined(separator: ",")
  }

  /// The name of a backfill that was given none: the same whenever the same is asked for, so that it is gone on with.
  /// A number tells those apart that came after it was done.
  static func name(of request: BackfillRequest, number: Int) -> String {
    let parts = [
      request.topics.joined(separator: ","), request.partitions.map(list) ?? "all", request.from, request.to,
    ]
    let code = String(fnv1a(parts.joined(separator: " ")), radix: 16)
    let padded = String(repeating: "0", count: 8 - code.count) + code
    let base = "\(request.topics.first?.prefix(64) ?? "none")-\(padded)"
    return number == 1 ? base : "\(base)-\(number)"
  }

  /// FNV-1a of 32 bits, http://www.isthe.com/chongo/tech/comp/fnv/.
  private static func fnv1a(_ text: String) -> UInt32 {
    text.utf8.reduce(0x811c_9dc5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
  }

  /// Letters, digits, `.`, `_` and `-`, as in a topic's name: the name is a label, and part of a consumer group's.
  static func isJobName(_ name: String) -> Bool {
    let allowed: (Character) -> Bool = {
      $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0))
    }
    return (1...100).contains(name.count) && name.allSatisfy(allowed)
  }
}
