import Foundation
import Synchronization

/// Where log lines go. Safe on any thread; a line is written whole before the next begins.
public final class LogOutput: Sendable {
  public static let standardError = LogOutput(fileDescriptor: STDERR_FILENO)

  private let sink: @Sendable (String) -> Void
  /// Held over a line: a pipe takes a long line in pieces.
  private let line = Mutex(())

  /// - Parameter sink: takes one line at a time, its line feed included.
  public init(_ sink: @escaping @Sendable (String) -> Void) {
    self.sink = sink
  }

  public convenience init(fileDescriptor: Int32) {
    self.init { text in
      var text = text
      text.withUTF8 { Self.write(UnsafeRawBufferPointer($0), to: fileDescriptor) }
    }
  }

  public func write(_ text: String) {
    line.withLock { _ in sink(text) }
  }

  /// Writes all bytes, and gives up silently when nobody reads: there is nowhere left to say so.
  private static func write(_ bytes: UnsafeRawBufferPointer, to fileDescriptor: Int32) {
    var rest = bytes[...]
    while let start = UnsafeRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
      let written = Foundation.write(fileDescriptor, start, rest.count)
      if written > 0 {
        rest = rest.dropFirst(written)
      } else if errno == EAGAIN {
        // Standard error may be a pipe that someone else made non-blocking.
        var waiting = pollfd(fd: fileDescriptor, events: Int16(POLLOUT), revents: 0)
        if poll(&waiting, 1, -1) < 0, errno != EINTR { return }
      } else if errno != EINTR {
        return
      }
    }
  }
}
