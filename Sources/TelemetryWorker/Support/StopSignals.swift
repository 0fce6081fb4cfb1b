import Foundation
import Logging
import UnixSignals

/// SIGTERM and SIGINT, obeyed: the first one asks for a clean stop, which has until a deadline; the second one ends the
/// process at once.
struct StopSignals {
  private let signals: UnixSignalsSequence

  /// From here on a signal does not kill any more. To be called first of all: as process 1 of a container a signal
  /// without a handler would be ignored.
  init() async {
    signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
  }

  /// Waits for signals until the task is cancelled.
  /// - Parameters:
  ///   - lateCode: The exit code when the stop has not come to its end in time.
  ///   - onStop: Asks for the clean stop.
  func obey(deadlineSeconds: Int, lateCode: Int32, logger: Logger, onStop: () -> Void) async {
    var isStopping = false
    for await signal in signals {
      if isStopping {
        logger.warning("second signal: ending at once", metadata: ["signal": "\(signal)"])
        Self.endNow(Exit.failed)
      }
      isStopping = true
      logger.info("stopping", metadata: ["signal": "\(signal)", "deadline_seconds": "\(deadlineSeconds)"])
      onStop()
      // Not a Task: the shared pool may be busy, and the deadline holds all the same.
      let watchdog = Thread {
        Thread.sleep(forTimeInterval: Double(deadlineSeconds) * 0.95)
        logger.warning("the deadline is over; what was not committed will be read again")
        Self.endNow(lateCode)
      }
      watchdog.start()
    }
  }

  /// Not `exit`: what that takes down on its way is still in use by the other threads, and the process may crash. Nothing
  /// is lost, for log lines are written at once.
  private static func endNow(_ code: Int32) -> Never { _exit(code) }
}
