import Monitoring
import Postgres
import Store
import Threads

/// Folds, refreshes and drops what is old while it holds the lease; otherwise waits to take it over. One of it runs in
/// every replica.
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
  private var retention: RetentionStage
  private var round = 0
  /// Rounds that failed in a row.
  private var failures = 0

  /// Between two looks of a replica that does not lead, for its metrics.
  private static let roundsBetweenLooks = 5

  public init(settings: CoordinatorSettings, observer: Observer, health: HealthState) {
    self.settings = settings
    self.observer = observer
    self.health = health
    retention = RetentionStage(settings.retention, observer: observer)
  }

  /// Coordinates until the task is cancelled; then gives the lease up, so that another replica takes it at once.
  public func run() async {
    while !Task.isCancelled {
      do throws(PostgresError) {
        try oneRound()
        failures = 0
        health.report("coordinator", .ok)
      } catch {
        failed(error)
      }
      try? await Task.sleep(for: pause)
    }
    release()
  }

  /// Longer after failures, but well within the lease.
  private var pause: Duration { settings.pace * (1 << min(failures, 3)) }

  private func oneRound() throws(PostgresError) {
    try takeOrRenewLease()
    guard let connection else { return }
    defer { round += 1 }
    let summaries = Summaries(connection: connection, schema: settings.schema)
    guard isLeader else {
      if round % Self.roundsBetweenLooks == 0 { show(try summaries.state()) }
      return
    }
    let state = try summaries.state()
    show(state)
    let isFolded = try refreshWhatIsDue(state, summaries)
    if !isFolded {
      if state.pendingDeltaRows >= settings.foldAtDeltaRows { try fold(summaries) }
      if state.daySketchDeltas >= settings.settleAtDaySketches { try summaries.settleDaySketches() }
    }
    try retention.takeStep(Retention(connection: connection, schema: settings.schema))
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

  private func takeOrRenewLease() throws(PostgresError) {
    do throws(PostgresError) {
      let leads = try lease(try connected()).takeOrRenew()
      lead(leads, why: leads ? "the lease was free" : "another replica has the lease")
    } catch {
      lead(false, why: "the lease could not be renewed")
      throw error
    }
  }

  private func lead(_ leads: Bool, why: String) {
    guard leads != isLeader else { return }
    isLeader = leads
    round = 0
    // Whatever another replica did meanwhile: a new leader looks at everything.
    retention = RetentionStage(settings.retention, observer: observer)
    observer.emit(RefreshEvent.leadership(leads, why: why))
  }

  private func lease(_ connection: Connection) -> Lease {
    Lease(
      connection: connection, schema: settings.schema, holder: settings.holder, seconds: settings.leaseSeconds
    )
  }

  private func release() {
    if let connection { try? lease(connection).release() }
    connection = nil
    lead(false, why: "stopping")
  }

  private func connected() throws(PostgresError) -> Connection {
    if let connection { return connection }
    let made = try Connection(settings.connection)
    connection = made
    return made
  }

  private func failed(_ error: PostgresError) {
    failures += 1
    if error.connectionLost || error.sqlState == .readOnlyTransaction {
      connection = nil
      // The lease runs out by itself; whether it is still ours is found out with the next round.
      lead(false, why: "the database failed")
    }
    health.report("coordinator", .notReady(error.description))
    observer.emit(
      DatabaseEvent.failed(
        sqlstate: error.sqlState?.code, action: .retry, doing: error.operation, message: error.description,
        retryInSeconds: pause.inSeconds))
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

  /// Refreshes both views together when both are due, for the fold comes once then. Returns whether it folded.
  private func refreshWhatIsDue(
    _ state: SummaryState, _ summaries: Summaries
  ) throws(PostgresError) -> Bool {
    var due: [(view: SummaryView, reason: RefreshTrigger.Reason)] = []
    for view in state.views {
      takeUp(view)
      let pending = RefreshTrigger.Pending(events: view.pendingEvents, windowsMove: state.windowsMove)
      let history = histories[view.view] ?? RefreshHistory()
      switch settings.trigger.decide(now: state.nowMicros, history: history, pending: pending) {
      case .wait: break
      case .skipTick: histories[view.view, default: history].skipped(at: state.nowMicros)
      case .refresh(let reason): due.append((view.view, reason))
      }
    }
    guard let first = due.first else { return false }
    if due.count == state.views.count && due.allSatisfy({ $0.reason == first.reason }) {
      try refresh(nil, first.reason, state, summaries)
    } else {
      for each in due { try refresh(each.view, each.reason, state, summaries) }
    }
    return true
  }

  /// A refresh that somebody else made counts like our own: another replica while it led, a person, pg_cron.
  private func takeUp(_ view: ViewState) {
    guard let start = view.lastStartMicros, let finish = view.lastFinishMicros else { return }
    // Our own began before it had finished.
    if let known = histories[view.view]?.lastFinish, start <= known { return }
    histories[view.view] = RefreshHistory(lastStart: start, lastFinish: finish)
  }

  private func refresh(
    _ view: SummaryView?, _ reason: RefreshTrigger.Reason, _ state: SummaryState, _ summaries: Summaries
  ) throws(PostgresError) {
    let clock = ContinuousClock()
    let began = clock.now
    let refreshed = view.map { [$0] } ?? SummaryView.allCases
    for each in refreshed {
      histories[each, default: RefreshHistory()].started(at: state.nowMicros, by: reason)
    }
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

extension Duration {
  var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
  var microseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
