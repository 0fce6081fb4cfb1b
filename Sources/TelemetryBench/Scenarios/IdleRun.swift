import Foundation
import Kafka
import TestSupport

/// What a worker with nothing to do costs.
struct IdleRun {
  let surroundings: Surroundings
  let sizes: Sizes

  private static let topic = "bench-idle"
  /// For what starting leaves behind.
  private static let settling = Duration.seconds(3)

  func run(into findings: inout Findings) async throws {
    try surroundings.cluster.createTopic(Self.topic, partitions: sizes.partitions)
    let database = try surroundings.makeDatabase()
    let connection = try database.connect()
    let worker = try surroundings.startWorker(database, topic: Self.topic, group: "idle")
    try await database.untilAtWork(connection)
    try await Task.sleep(for: Self.settling)
    let before = (
      try ProcessUsage.cpuSeconds(of: worker.pid), try surroundings.usage(connection).cpuSeconds
    )
    let clock = ContinuousClock()
    let began = clock.now
    try await Task.sleep(for: .seconds(sizes.idleSeconds))
    let percent = 100 / (clock.now - began).seconds
    let after = (
      try ProcessUsage.cpuSeconds(of: worker.pid), try surroundings.usage(connection).cpuSeconds
    )
    findings.add((after.0 - before.0) * percent, .idleWorker, of: .idle)
    findings.add((after.1 - before.1) * percent, .idlePostgres, of: .idle)
    try await surroundings.stop(worker)
    try surroundings.drop(database)
  }
}
