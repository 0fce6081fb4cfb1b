import Monitoring
import Postgres
import Store
import Threads

/// Folds and refreshes while it holds the lease; otherwise waits to take it over. One of it runs in every replica.
///
/// Works on a thread of its own, for every call to the database blocks.
public actor Coordinator {
  private let executor = ThreadExecutor(name: "coordinator")
  nonisolated public var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

  private let settings: CoordinatorSettings
  private let observer: Observer
  private let health: HealthState
  private var connection: Connection?
  private var isLeader = false
  private var histories: [SummaryView: RefreshHistory] = [:]
  private var round = 0

  /// Between two looks at what is pending and at the clock.
  private static let pace = Duration.seconds(1)
  /// Pending delta rows that are folded although no refresh is due: the pending tables stay small.
  static let foldAtDeltaRows: Int64 = 200_000
  private static let roundsBetweenTrims = 3_600
  /// Between two looks of a replica that does not lead, for its metrics.
  private static let roundsBetweenLooks = 5

  public init(settings: CoordinatorSettings, observer: Observer, health: HealthState) {
    self.settings = settings
    self.observer = observer
    self.health = health
  }

  /// Coordinates until the task is cancelled; then gives the lease up, so that another replica takes it at once.
  public func run() async {
    while !Task.isCancelled {
      do throws(PostgresError) {
        try oneRound()
        health.report("coordinator", .ok)
      } catch {
        failed(error)
      }
      try? await Task.sleep(for: Self.pace)
    }
    release()
  }

  private func oneRound() throws(PostgresError) {
    let connection = try connected()
    let lease = Lease(connection: connection, schema: settings.schema, holder: settings.holder)
    try lead(try lease.takeOrRenew())
    defer { round += 1 }
    let summaries = Summaries(connection: connection, schema: settings.schema)
    guard isLeader else {
      if round % Self.roundsBetweenLooks == 0 { show(try summaries.state()) }
      return
    }
    let state = try summaries.state()
    show(state)
    try refreshWhatIsDue(state, summaries)
    if state.pendingDeltaRows >= Self.foldAtDeltaRows { try fold(summaries) }
    if round % Self.roundsBetweenTrims == 0 { try summaries.trimRefreshLog(days: settings.refreshLogDays) }
  }

  /// What is true of all workers: every replica shows it, so that an alert need not know which one leads, nor which one
  /// has just started.
  private func show(_ state: SummaryState) {
    observer.emit(RefreshEvent.pending(events: state.pendingEvents))
    for view in state.views {
      guard let finished = view.lastFinishMicros else { continue }
      observer.emit(RefreshEvent.lastSuccess(view: view.view.rawValue, finishedAt: finished))
    }
  }

  // MARK: Leading

  private func lead(_ leads: Bool) throws(PostgresError) {
    guard leads != isLeader else { return }
    isLeader = leads
    // Whoever led before has refreshed meanwhile: what the log says counts.
    histories = [:]
    round = 0
    observer.emit(
      RefreshEvent.leadership(leads, why: leads ? "the lease was free" : "another replica has the lease"))
  }

  private func release() {
    defer { connection = nil }
    guard isLeader, let connection else { return }
    try? Lease(connection: connection, schema: settings.schema, holder: settings.holder).release()
    isLeader = false
    observer.emit(RefreshEvent.leadership(false, why: "stopping"))
  }

  private func connected() throws(PostgresError) -> Connection {
    if let connection { return connection }
    let made = try Connection(settings.connection)
    connection = made
    return made
  }

  private func failed(_ error: PostgresError) {
    if error.connectionLost || error.sqlState == .readOnlyTransaction { connection = nil }
    // The lease runs out by itself; whether it is still ours is found out with the next round.
    if isLeader { observer.emit(RefreshEvent.leadership(false, why: "the database failed")) }
    isLeader = false
    health.report("coordinator", .notReady(error.description))
    observer.emit(
      DatabaseEvent.failed(
        sqlstate: error.sqlState?.code, action: .retry, doing: error.operation, message: error.description,
        retryInSeconds: 1))
  }

  // MARK: Folding and refreshing

  private func fold(_ summaries: Summaries) throws(PostgresError) {
    let clock = ContinuousClock()
    let began = clock.now
    let folded = try summaries.fold()
    observer.emit(
      RefreshEvent.folded(
        deltas: folded.deltaRows, events: folded.events, seconds: (clock.now - began).inSeconds))
  }

  /// Refreshes both views together when both are due, for the fold comes once then.
  private func refreshWhatIsDue(_ state: SummaryState, _ summaries: Summaries) throws(PostgresError) {
    var due: [(view: SummaryView, reason: RefreshTrigger.Reason)] = []
    for view in state.views {
      let history = histories[view.view] ?? RefreshHistory(view)
      histories[view.view] = history
      let pending = RefreshTrigger.Pending(events: view.pendingEvents, windowsMove: state.windowsMove)
      switch settings.trigger.decide(now: state.nowMicros, history: history, pending: pending) {
      case .wait: break
      case .skipTick: histories[view.view]?.skipped(at: state.nowMicros)
      case .refresh(let reason): due.append((view.view, reason))
      }
    }
    guard let first = due.first else { return }
    if due.count == state.views.count && due.allSatisfy({ $0.reason == first.reason }) {
      try refresh(nil, first.reason, state, summaries)
    } else {
      for each in due { try refresh(each.view, each.reason, state, summaries) }
    }
  }

  private func refresh(
    _ view: SummaryView?, _ reason: RefreshTrigger.Reason, _ state: SummaryState, _ summaries: Summaries
  ) throws(PostgresError) {
    let clock = ContinuousClock()
    let began = clock.now
    let refreshed = view.map { [$0] } ?? SummaryView.allCases
    for each in refreshed { histories[each]?.started(at: state.nowMicros, by: reason) }
    let outcomes: [RefreshOutcome]
    do {
      outcomes = try summaries.refresh(view, cause: reason.rawValue)
    } catch {
      let now = state.nowMicros + (clock.now - began).microseconds
      for each in refreshed { histories[each]?.finished(at: now, succeeded: false) }
      throw error
    }
    let now = state.nowMicros + (clock.now - began).microseconds
    for outcome in outcomes {
      histories[outcome.view]?.finished(at: now, succeeded: outcome.error == nil)
      let pending = state.views.first { $0.view == outcome.view }?.pendingEvents ?? 0
      observer.emit(
        RefreshEvent.finished(
          view: outcome.view.rawValue, cause: reason == .schedule ? .schedule : .threshold,
          seconds: outcome.milliseconds / 1_000, rows: nil, events: pending, finishedAt: now,
          error: outcome.error))
    }
  }
}

extension RefreshHistory {
  /// What the refresh log says.
  init(_ view: ViewState) {
    if let start = view.lastStartMicros, let finish = view.lastFinishMicros {
      self.init(lastStart: start, lastFinish: finish)
    } else {
      self.init()
    }
  }
}

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
  var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
