import Foundation

/// Work that blocks, on a thread of its own that starts at once: a test of two connections needs two threads, and the
/// shared pool may have no more than two for all the tests.
public struct Background<Value: Sendable>: Sendable {
  private let results: AsyncStream<Result<Value, any Error>>

  public init(_ body: @escaping @Sendable () throws -> Value) {
    let (stream, continuation) = AsyncStream.makeStream(of: Result<Value, any Error>.self)
    results = stream
    Thread.detachNewThread {
      continuation.yield(Result { try body() })
      continuation.finish()
    }
  }

  /// What the work came to. To be asked for once.
  public var value: Value {
    get async throws {
      for await result in results { return try result.get() }
      throw TimedOut(what: "the result of a thread, which was asked for twice")
    }
  }
}
