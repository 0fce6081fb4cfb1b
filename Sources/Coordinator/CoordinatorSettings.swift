import Postgres
import Store

/// What the coordinating part of the worker is told.
public struct CoordinatorSettings: Sendable {
  public var connection: ConnectionOptions
  public var schema: Schema
  public var trigger: RefreshTrigger
  /// Days that the refresh log is kept; 0 keeps all.
  public var refreshLogDays: Int
  /// Tells this process from other replicas, e.g. host name, process id and something random.
  public var holder: String

  public init(
    connection: ConnectionOptions, schema: Schema, trigger: RefreshTrigger, refreshLogDays: Int,
    holder: String
  ) {
    self.connection = connection
    self.schema = schema
    self.trigger = trigger
    self.refreshLogDays = refreshLogDays
    self.holder = holder
  }
}
