import Foundation

/// A serial executor that owns one thread, for an actor whose work blocks: a C library's handle, a database round trip.
///
/// Blocking calls on Swift's shared pool would starve everything else on a machine of two cores, and Linux has no
/// DispatchSerialQueue that could serve as an executor. The thread ends when the executor is released.
///
/// A task that prefers it needs the shared pool for nothing, not even to begin or to go on with such an actor: whatever
/// blocks the pool then keeps nobody waiting who must not wait.
public final class ThreadExecutor: SerialExecutor, TaskExecutor {
  private let queue = JobQueue()

  /// Starts the thread. `name` shows in `top -H`; the kernel keeps 15 bytes of it.
  public init(name: String) {
    let thread = Thread { [queue] in queue.serve() }
    thread.name = name
    thread.stackSize = 1 << 21
    thread.start()
  }

  deinit { queue.stop() }

  public func enqueue(_ job: consuming ExecutorJob) {
    queue.put(UnownedJob(job), asUnownedSerialExecutor(), asUnownedTaskExecutor())
  }
}

/// The jobs that wait for the thread.
///
/// `@unchecked Sendable`: every access to the mutable state is made with `condition` locked.
private final class JobQueue: @unchecked Sendable {
  private let condition = NSCondition()
  private typealias Entry = (job: UnownedJob, serial: UnownedSerialExecutor, task: UnownedTaskExecutor)
  private var jobs: [Entry] = []
  private var isStopping = false

  func put(_ job: UnownedJob, _ serial: UnownedSerialExecutor, _ task: UnownedTaskExecutor) {
    condition.withLock {
      jobs.append((job, serial, task))
      condition.signal()
    }
  }

  func stop() {
    condition.withLock {
      isStopping = true
      condition.signal()
    }
  }

  /// The thread's body: runs jobs in order until `stop` was called and none is left.
  func serve() {
    while let next = take() { next.job.runSynchronously(isolatedTo: next.serial, taskExecutor: next.task) }
  }

  private func take() -> Entry? {
    condition.lock()
    defer { condition.unlock() }
    while jobs.isEmpty {
      if isStopping { return nil }
      condition.wait()
    }
    return jobs.removeFirst()
  }
}
