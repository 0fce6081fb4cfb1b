import Postgres

/// Ends the backend of another worker that holds a lock we wait for while it waits for its client.
///
/// A COPY whose client stalled obeys neither statement_timeout nor a cancel request, so a frozen worker's transaction
/// would keep its partitions locked for as long as its connection lives. Ending it loses nothing: its batch was not
/// committed, and whoever owns the partitions now writes it again. A backend found once is a suspect only, for a healthy
/// one waits for its client between two messages too; it is ended when the next look finds it no further.
///
/// Behind a connection pooler the backend's own process id is not known, and nobody is found.
final class StalledHolder {
  private let options: ConnectionOptions
  /// How long the holder's transaction must have been open, in seconds.
  private let minimumAgeSeconds: Int32
  private let onEnded: (_ pid: Int64, _ heldSeconds: Double) -> Void
  /// Where the holders stood at the last look.
  private var suspects: Set<String> = []

  init(
    options: ConnectionOptions, minimumAgeSeconds: Int32, onEnded: @escaping (Int64, Double) -> Void
  ) {
    self.options = options
    self.minimumAgeSeconds = minimumAgeSeconds
    self.onEnded = onEnded
  }

  /// Looks at who blocks `backendPID`; called again and again from a thread that waits for an answer, and uses a
  /// connection of its own. Failing to look is no failure of the wait.
  func look(blocking backendPID: Int32) {
    guard let connection = try? Connection(options) else { return }
    var parameters = Parameters()
    parameters.append(backendPID)
    parameters.append(minimumAgeSeconds)
    let holders = try? connection.query(
      """
      SELECT a.pid, concat_ws(' ', a.pid, a.backend_start, a.xact_start, a.query_start, a.state, c.bytes_processed),
        extract(epoch FROM clock_timestamp() - a.xact_start)
      FROM unnest(pg_blocking_pids($1)) AS b (pid) JOIN pg_stat_activity AS a USING (pid)
      LEFT JOIN pg_stat_progress_copy AS c USING (pid)
      WHERE a.usename = current_user AND a.application_name = current_setting('application_name')
        AND a.wait_event_type = 'Client' AND a.xact_start < clock_timestamp() - make_interval(secs => $2)
      """, parameters, operation: "look for a stalled holder of a lock")
    let found = holders?.rows ?? []
    for holder in found where suspects.contains(holder.text(1)) {
      var pid = Parameters()
      pid.append(Int32(holder.int(0)))
      let ended = try? connection.query(
        "SELECT pg_terminate_backend($1)", pid, operation: "end a stalled holder of a lock")
      if ended?.rows.first?.bool(0) == true { onEnded(holder.int(0), Double(holder.text(2)) ?? 0) }
    }
    suspects = Set(found.map { $0.text(1) })
  }
}
