import Logging
import Postgres

/// Ends the backend of another worker that holds a lock we wait for while it waits for its client.
///
/// A COPY whose client stalled obeys neither statement_timeout nor a cancel request, so a frozen worker's transaction
/// would keep its partitions locked for as long as its connection lives. Ending it loses nothing: its batch was not
/// committed, and whoever owns the partitions now writes it again.
struct StalledHolder {
  let options: ConnectionOptions
  /// How long the holder's transaction must have been open, in seconds.
  let minimumAgeSeconds: Int32
  let logger: Logger

  /// Looks once at who blocks `backendPID`; called from a thread that waits for an answer, on a connection of its own.
  func endIfStalled(blocking backendPID: Int32) {
    do throws(PostgresError) {
      let connection = try Connection(options)
      var parameters = Parameters()
      parameters.append(backendPID)
      parameters.append(minimumAgeSeconds)
      let ended = try connection.query(
        """
        SELECT a.pid, pg_terminate_backend(a.pid)
        FROM unnest(pg_blocking_pids($1)) AS b (pid) JOIN pg_stat_activity AS a USING (pid)
        WHERE a.usename = current_user AND a.application_name = current_setting('application_name')
          AND a.wait_event_type = 'Client' AND a.xact_start < clock_timestamp() - make_interval(secs => $2)
        """, parameters, operation: "look for a stalled holder of a lock")
      for row in ended.rows {
        logger.warning(
          "ended the backend of a stalled worker that held a lock", metadata: ["pid": "\(row.int(0))"])
      }
    } catch {
      logger.debug("could not look for a stalled holder", metadata: ["error": "\(error)"])
    }
  }
}
