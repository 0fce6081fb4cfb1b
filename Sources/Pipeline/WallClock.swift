import Glibc

/// The time of day, without Foundation.
enum WallClock {
  /// Microseconds since the Unix epoch.
  static func nowMicros() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
  }
}

/// Milliseconds that only ever go forward, for ages and deadlines.
enum SteadyClock {
  static func nowMs() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
  }
}
