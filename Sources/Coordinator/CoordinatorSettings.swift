import Postgres
import Store

/// What the coordinating part of the worker is told.
public struct CoordinatorSettings: Sendable {
  public var connection: ConnectionOptions
  public var schema: Schema
  public var trigger: RefreshTrigger
  public var retention: RetentionSettings
  /// Tells this process from other replicas, e.g. host name, process id and something random.
  public var holder: String
  /// Between two looks at what is pending and at the clock; several of them fit into the lease.
  public var pace: Duration
  /// How long the lease lasts unless it is renewed: after a crash, another replica takes over that much later.
  public var leaseSeconds: Int32
  /// Pending delta rows that are folded although no refresh is due: the pending tables stay small.
  public var foldAtDeltaRows: Int64
  /// Sketches of days, left by folds, that are settled in the day rows between two refreshes.
  public var settleAtDaySketches: Int64

  public init(
    connection: ConnectionOptions, schema: Schema, trigger: RefreshTrigger, retention: RetentionSettings,
    holder: String, pace: Duration = .seconds(1), leaseSeconds: Int32 = 10, foldAtDeltaRows: Int64 = 200_000,
    settleAtDaySketches: Int64 = 100_000
  ) {
    self.connection = connection
    self.schema = schema
    self.trigger = trigger
    self.retention = retention
    self.holder = holder
    self.pace = pace
    self.leaseSeconds = leaseSeconds
    self.foldAtDeltaRows = foldAtDeltaRows
    self.settleAtDaySketches = settleAtDaySketches
  }
}
