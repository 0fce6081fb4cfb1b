import CLibPQ

/// How to reach a server. Printing it never shows the URL, which may hold a password.
public struct ConnectionOptions: Sendable, CustomStringConvertible {
  /// A libpq URI or a keyword=value string.
  public var conninfo: String
  /// Shown in `pg_stat_activity`, unless the conninfo sets its own.
  public var applicationName: String
  /// Seconds to wait for a connection to be made.
  public var connectTimeoutSeconds: Int
  /// Milliseconds that sent data may stay unacknowledged before the kernel gives the connection up.
  public var tcpUserTimeoutMs: Int

  public init(
    conninfo: String, applicationName: String = "telemetry-worker", connectTimeoutSeconds: Int = 10,
    tcpUserTimeoutMs: Int = 20_000
  ) {
    self.conninfo = conninfo
    self.applicationName = applicationName
    self.connectTimeoutSeconds = connectTimeoutSeconds
    self.tcpUserTimeoutMs = tcpUserTimeoutMs
  }

  public var description: String { "ConnectionOptions(conninfo: <redacted>, as: \(applicationName))" }

  /// Throws when libpq cannot read the conninfo; never repeats it, for it may hold a password.
  public func validate() throws(PostgresError) {
    var reason: UnsafeMutablePointer<CChar>?
    if let parsed = PQconninfoParse(conninfo, &reason) {
      PQconninfoFree(parsed)
      return
    }
    let text = reason.map { String(cString: $0) } ?? "out of memory"
    if let reason { PQfreemem(reason) }
    // Some of libpq's messages quote the whole string; those that quote are not passed on.
    let safe = text.contains("\"") ? "it is neither a libpq URI nor a keyword=value string" : text
    throw PostgresError(
      operation: "read the connection string", message: safe.trimmingNewlines,
      hint: "expected postgresql://user@host:5432/database or host=... dbname=...")
  }

  /// Later keywords win: what the user's conninfo says stands over our defaults, but not over the encoding.
  var keywords: [(String, String)] {
    [
      ("fallback_application_name", applicationName),
      ("connect_timeout", String(connectTimeoutSeconds)),
      ("keepalives", "1"), ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
      ("tcp_user_timeout", String(tcpUserTimeoutMs)),
      ("dbname", conninfo),
      ("client_encoding", "UTF8"),
    ]
  }
}

extension String {
  var trimmingNewlines: String {
    var text = Substring(self)
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return String(text)
  }
}
