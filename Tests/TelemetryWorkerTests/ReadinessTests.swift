import Foundation
import Kafka
import Postgres
import TestSupport
import Testing

@Suite("Readiness and lag of a running worker, through outages and rebalances", .timeLimit(.minutes(4)))
struct ReadinessTests {
  @Test(
    "With the database away it lives, is not ready and says why, and the lag grows by what is produced although nothing is fetched"
  )
  func databaseAway() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try WorkerStage(partitions: 2, on: server)
    try server.stop()
    // So small that the partitions are paused while the writer waits.
    try await stage.withWorker(["TELEMETRY_INGEST_BATCH_EVENTS": "10"]) { worker in
      #expect(try await worker.ask("/live").status == 200)
      let before = try await worker.ask("/ready")
      #expect(before.status == 503 && before.body.contains("\"status\":\"not_ready\""), "\(before.body)")
      #expect(before.body.contains("\"postgres\""))

      try server.start()
      try await eventually("the worker is ready") { try await worker.ask("/ready").status == 200 }
      try stage.produce(events: 100, seed: 5)
      try await worker.scrape(until: "100 events are stored, with no lag") {
        $0.sum("consumer_committed_offset") == 100 && $0.sum("consumer_high_watermark_offset") == 100
          && $0.samples("consumer_lag_records").map(\.value) == [0, 0]
          && $0.samples("consumer_lag_seconds").map(\.value) == [0, 0]
      }

      try server.stop(.immediate)
      try stage.produce(events: 300, seed: 6, partition: 0)
      try await worker.scrape(until: "a lag of 300 records is shown") {
        $0["consumer_lag_records", ["topic": stage.topic, "partition": "0"]] == 300
      }
      // Long after the partitions were paused, and what a consumer remembers of the end stands still.
      try stage.produce(events: 200, seed: 7, partition: 1)
      let stalled = try await worker.scrape(until: "a lag of 500 records, and its age, is shown") {
        $0.sum("consumer_lag_records") == 500
          && $0.samples("consumer_lag_seconds").filter { $0.value > 0 }.count == 2
      }
      #expect(stalled.sum("consumer_committed_offset") == 100)
      // The batch of 10 that is full, and the one with the writer.
      #expect(try #require(stalled["buffer_events"]) > 10)
      #expect((stalled["db_errors_total", ["sqlstate_class": "connection", "action": "retry"]] ?? 0) > 0)
      #expect(try #require(stalled["db_retries_total"]) > 0)
      let during = try await worker.ask("/ready")
      #expect(during.status == 503 && during.body.contains("\"postgres\""), "\(during.body)")
      #expect(try await worker.ask("/live").status == 200)

      try server.start()
      try await worker.scrape(until: "the lag is gone and nothing is in hand") {
        $0.sum("consumer_committed_offset") == 600 && $0.sum("consumer_lag_records") == 0
          && $0.sum("consumer_lag_seconds") == 0 && $0["buffer_events"] == 0 && $0["buffer_bytes"] == 0
      }
      try await eventually("the worker is ready again") { try await worker.ask("/ready").status == 200 }
    }
  }

  @Test(
    "When a second worker joins, the series of what it took are gone, none is negative, and all have one owner"
  )
  func secondWorker() async throws {
    let stage = try WorkerStage(partitions: 3)
    try stage.produce(events: 90, seed: 8)
    try await stage.withWorker { first in
      try await first.scrape(until: "the first worker has stored everything") {
        $0.sum("consumer_committed_offset") == 90 && $0.partitions("consumer_lag_records") == [0, 1, 2]
      }
      try await stage.withWorker { second in
        let taken = try await second.scrape(until: "the second worker has a share, with its lag") {
          $0.sum("consumer_assigned_partitions") > 0
            && Double($0.partitions("consumer_lag_seconds").count) == $0["consumer_assigned_partitions"]
        }
        let kept = try await first.scrape(until: "the first worker has the rest, with its lag") {
          $0.partitions("consumer_lag_seconds").count + taken.partitions("consumer_lag_seconds").count == 3
        }
        for family in [
          "consumer_lag_records", "consumer_lag_seconds", "consumer_committed_offset",
          "consumer_high_watermark_offset",
        ] {
          #expect((kept.partitions(family) + taken.partitions(family)).sorted() == [0, 1, 2], "\(family)")
          #expect((kept.samples(family) + taken.samples(family)).allSatisfy { $0.value >= 0 }, "\(family)")
        }
        #expect(try #require(kept["consumer_rebalances_total", ["event": "revoked"]]) >= 1)
        #expect(kept["coordinator_leader"] == 1 && taken["coordinator_leader"] == 0)
        #expect(try await first.ask("/ready").status == 200)
        #expect(try await second.ask("/ready").status == 200)
      }
    }
  }

  @Test("A member that joined and got no partition is ready")
  func spareMember() async throws {
    let stage = try WorkerStage(partitions: 1)
    try await stage.withWorker { first in
      try await eventually("the first worker is ready") { try await first.ask("/ready").status == 200 }
      try await stage.withWorker { second in
        try await eventually("both are ready") {
          let answers = (try await first.ask("/ready"), try await second.ask("/ready"))
          let joined = try await second.scrape()["consumer_rebalances_total", ["event": "assigned"]] ?? 0
          return answers.0.status == 200 && answers.1.status == 200 && joined > 0
        }
        let shares = [
          try await first.scrape()["consumer_assigned_partitions"],
          try await second.scrape()["consumer_assigned_partitions"],
        ]
        #expect(shares.compactMap(\.self).sorted() == [0, 1])
      }
    }
  }

  @Test("With the brokers away it lives and keeps showing the last lag; when they are back it catches up")
  func brokersAway() async throws {
    let stage = try WorkerStage(partitions: 1)
    try stage.produce(events: 40, seed: 9)
    try await stage.withWorker { worker in
      let stored = { (count: Double) in
        { (scrape: Scrape) in
          scrape.sum("consumer_committed_offset") == count && scrape.sum("consumer_lag_records") == 0
            && scrape.sum("consumer_high_watermark_offset") == count
        }
      }
      try await worker.scrape(until: "40 events are stored", stored(40))
      try stage.cluster.setBrokerDown(1)
      try await eventually("the worker has noticed") { worker.hasLogged("Kafka client error") }
      let cut = try await worker.scrape()
      #expect(cut["consumer_lag_records", ["topic": stage.topic, "partition": "0"]] == 0)
      #expect(cut["consumer_lag_seconds", ["topic": stage.topic, "partition": "0"]] == 0)
      #expect(try await worker.ask("/live").status == 200)
      try stage.cluster.setBrokerUp(1)
      try stage.produce(events: 20, seed: 10)
      try await worker.scrape(until: "60 events are stored", stored(60))
    }
  }
}
