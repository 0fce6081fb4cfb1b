import Store
import Telemetry

/// How a backfill stands, for people and programs.
struct BackfillReport: Encodable {
  enum State: String, Encodable {
    /// A dry run: this is what would be read.
    case planned
    case stopped
    case finished
  }

  struct Partition: Encodable {
    var topic: String
    var partition: Int32
    var startOffset: Int64
    var endOffset: Int64
    /// The first offset that is not done yet.
    var nextOffset: Int64
    /// Offsets to be read; records may be fewer, where transactions or compaction left holes.
    var remaining: Int64
    /// Offsets that the broker has deleted, or had when they were to be read.
    var missing: Int64
  }

  var job: String
  var state: State
  var from: String
  var to: String
  var startedAt: String?
  var finishedAt: String?
  var stored: Int64
  var duplicate: Int64
  var deadLetter: Int64
  var skipped: Int64
  var outOfRange: Int64
  var missing: Int64
  var remaining: Int64
  var partitions: [Partition]

  /// - Parameter gaps: What the broker is known to have deleted of partitions that are not read yet.
  init(_ job: BackfillJob, _ state: State, gaps: (BackfillPartition) -> Int64 = { _ in 0 }) {
    let counts = job.counts
    self.job = job.name
    self.state = state
    (from, to) = (job.request.from, job.request.to)
    (startedAt, finishedAt) = (job.startedAt, job.finishedAt)
    (stored, duplicate, deadLetter) = (counts.stored, counts.duplicate, counts.deadLetter)
    (skipped, outOfRange) = (counts.skipped, counts.outOfRange)
    partitions = job.partitions.map { each in
      let gap = gaps(each)
      return Partition(
        topic: each.name.topic, partition: each.name.partition, startOffset: each.start, endOffset: each.end,
        nextOffset: each.next, remaining: each.remaining - gap, missing: each.counts.missing + gap)
    }
    missing = partitions.reduce(0) { $0 + $1.missing }
    remaining = partitions.reduce(0) { $0 + $1.remaining }
  }

  // MARK: Text

  var text: String {
    switch state {
    case .planned: planText
    case .finished:
      "Backfill \(job) is done"
        + (finishedAt.map { " since \($0)" } ?? "") + ", from \(from) to \(to):\n\(outcomes)"
    case .stopped:
      "Backfill \(job) stopped with \(NumberText.grouped(remaining)) records to go:\n\(outcomes)"
    }
  }

  private var planText: String {
    var table = TextTable(
      .text("topic"), .number("partition"), .number("from"), .number("to"), .number("records"),
      .number("deleted"))
    for each in partitions {
      table.add(
        each.topic, "\(each.partition)", "\(each.nextOffset)", "\(each.endOffset)",
        NumberText.grouped(each.remaining), NumberText.grouped(each.missing))
    }
    return
      "Backfill \(job) would read at most \(NumberText.grouped(remaining)) records, from \(from) to \(to):\n"
      + table.rendered(width: nil)
  }

  private var outcomes: String {
    var table = TextTable(.text("what became of the records"), .number("records"))
    table.add("stored", NumberText.grouped(stored))
    table.add("already there", NumberText.grouped(duplicate))
    table.add("dead letters", NumberText.grouped(deadLetter))
    table.add("tombstones, skipped", NumberText.grouped(skipped))
    table.add("out of the range", NumberText.grouped(outOfRange))
    table.add("deleted by the broker before", NumberText.grouped(missing))
    return table.rendered(width: nil)
  }
}
