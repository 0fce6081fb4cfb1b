import Glibc

/// Milliseconds that only ever go forward, for ages and deadlines.
enum SteadyClock {
  static func nowMs() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
  }
}
