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

  /// Throws when libpq cannot read the conninfo, or would take a part of the password for something else; never
  /// repeats it, for it may hold a password.
  public func validate() throws(PostgresError) {
    var reason: UnsafeMutablePointer<CChar>?
    if let parsed = PQconninfoParse(conninfo, &reason) {
      defer { PQconninfoFree(parsed) }
      guard let misread = Self.misreadPart(of: parsed) else { return }
      throw PostgresError(
        operation: "read the connection string", message: "its \(misread) is not one",
        hint: "percent-encode @ : / and other special characters of the user and the password")
    }
    let text = reason.map { String(cString: $0) } ?? "out of memory"
    if let reason { PQfreemem(reason) }
    // Some of libpq's messages quote the whole string; those that quote are not passed on.
    let safe = text.contains("\"") ? "it is neither a libpq URI nor a keyword=value string" : text
    throw PostgresError(
      operation: "read the connection string", message: safe.trimmingNewlines,
      hint: "expected postgresql://user@host:5432/database or host=... dbname=...")
  }

  /// The part that holds what an unescaped character of a password left over: libpq's errors, and the server's, would
  /// quote it.
  private static func misreadPart(of parsed: UnsafeMutablePointer<PQconninfoOption>) -> String? {
    var option = parsed
    while let keyword = option.pointee.keyword {
      defer { option += 1 }
      guard let value = option.pointee.val.map({ String(cString: $0) }) else { continue }
      switch String(cString: keyword) {
      case "host" where value.contains("@"): return "host"
      case "dbname" where value.contains("@"): return "dbname"
      case "port" where !value.allSatisfy({ ("0"..."9").contains($0) || $0 == "," }): return "port"
      default: continue
      }
    }
    return nil
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
