/// What new events add to one row of a rollup.
public struct RollupRow: Equatable, Sendable, BitwiseCopyable {
  /// The start of the hour in UTC, microseconds since 1970.
  public var bucketStart: Int64
  /// A number in ``RollupDeltas/texts``; null where the rollup has no domain, or the event none.
  public var domain: Int32
  /// A number in ``RollupDeltas/texts``; null where the rollup has no model.
  public var model: Int32
  public var measures: Measures
}

/// What new events add to the summary of a day, a domain and a model. No domain and a blank model stay what they are,
/// apart from the word `unknown`.
public struct SummaryDelta: Equatable, Sendable {
  /// Days since 1970-01-01, UTC.
  public var day: Int32
  public var domain: Int32
  public var model: Int32
  public var measures: Measures
  /// Where the duration sketch stands in ``RollupDeltas/bins`` and ``RollupDeltas/binCounts``; empty when no event has
  /// a duration.
  public var sketch: Range<Int>
}

/// What new events of an hour add to the trailing windows of a domain (the model is null) or of a model (the domain is
/// null).
public struct WindowDelta: Equatable, Sendable {
  /// The start of the hour in UTC, microseconds since 1970.
  public var hourStart: Int64
  public var domain: Int32
  public var model: Int32
  public var requests: Int64
  /// Micro-dollars.
  public var costMicros: Int64
  /// Where its minutes stand in ``RollupDeltas/windowMinutes`` and the two arrays beside it.
  public var minutes: Range<Int>
}

/// What the new events of a transaction add to the rollups.
///
/// Every list is in one order that is the same in every process (time, then domain by its bytes with null first, then
/// model likewise), so that two writers lock the rows in the same order. Domains and models are numbers in ``texts``.
public struct RollupDeltas: Sendable {
  /// By hour.
  public let hours: [RollupRow]
  /// By hour and domain; events without a domain are in the row of the word `unknown`.
  public let domains: [RollupRow]
  /// By hour, domain and model; blank models are in the row of the word `unknown`.
  public let models: [RollupRow]
  public let summaries: [SummaryDelta]
  /// The sketches of all summaries, one after the other, each ascending.
  public let bins: [Int16]
  /// How often each of ``bins`` was hit.
  public let binCounts: [Int32]
  /// By domain, then by model; none for events without a domain, nor for a blank model.
  public let sketches: [SketchDelta]
  /// The bins of all ``sketches``, one after the other, each ascending.
  public let nameBins: [Int16]
  /// How often each of ``nameBins`` was hit.
  public let nameBinCounts: [Int32]
  public let windows: [WindowDelta]
  /// The minutes of all windows, one after the other: minutes of the hour, 0 to 59, each window's ascending.
  public let windowMinutes: [Int16]
  /// The events in each of ``windowMinutes``.
  public let windowRequests: [Int64]
  /// The cost of each of ``windowMinutes``, micro-dollars.
  public let windowCosts: [Int64]
  /// How many events these are.
  public let events: Int
  /// The texts that the numbers of domains and models stand for.
  public let texts: TextList

  /// What rows of one batch add; the numbers of domains and models are those of the batch as well.
  ///
  /// - Parameters:
  ///   - rows: The indices of the rows that are new, each once.
  ///   - windowFloorMicros: Events before this time are too old for the trailing windows; start of a minute.
  public init(batch: EventBatch, rows: [Int], windowFloorMicros: Int64) {
    var sums = RollupSums()
    sums.add(BatchGrains(batch: batch, rows: rows, windowFloorMicros: windowFloorMicros), of: batch)
    self = sums.finish()
  }

  /// Aggregates the finest grains, from which all coarser ones follow.
  init(
    _ grains: consuming FineGrains, _ minutes: consuming MinuteGroups, _ strings: borrowing StringTable,
    events: Int
  ) {
    let order = GroupOrder(strings)
    hours = Self.rows(grains.groups, order) { GroupKey(bucket: $0.bucket, domain: -1, model: -1) }
    domains = Self.rows(grains.groups, order) {
      let domain = $0.domain == StringTable.null ? StringTable.unknown : $0.domain
      return GroupKey(bucket: $0.bucket, domain: domain, model: -1)
    }
    models = Self.rows(grains.groups, order) {
      let model = $0.model == StringTable.blank ? StringTable.unknown : $0.model
      return GroupKey(bucket: $0.bucket, domain: $0.domain, model: model)
    }
    (summaries, bins, binCounts) = grains.summaries(order)
    let names = NameSketches(summaries, bins: bins, counts: binCounts, order)
    (sketches, nameBins, nameBinCounts) = (names.rows, names.bins, names.counts)
    (windows, windowMinutes, windowRequests, windowCosts) = minutes.windows(order)
    self.events = events
    texts = TextList(strings)
  }

  /// A row for each coarser key, which groups that are alike but for what it leaves out share.
  private static func rows(
    _ groups: borrowing MeasureGroups, _ order: GroupOrder, coarser: (GroupKey) -> GroupKey
  ) -> [RollupRow] {
    let keys = ContiguousArray(groups.keys.lazy.map(coarser))
    var rows: [RollupRow] = []
    var last: GroupKey?
    for number in order.sorted(keys) {
      let key = keys[number]
      if let last, last.equals(key) {
        rows[rows.count - 1].measures.merge(groups.measures[number])
      } else {
        rows.append(
          RollupRow(
            bucketStart: key.bucket, domain: key.domain, model: key.model, measures: groups.measures[number]))
        last = key
      }
    }
    return rows
  }
}
