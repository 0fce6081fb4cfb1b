import Coordinator
import Monitoring
import Postgres
import Store
import TestSupport
import Testing

@Suite("The coordinator")
struct CoordinatorTests {
  @Test("refreshes once enough events were stored, and not before")
  func threshold() async throws {
    let stage = try CoordinatorStage()
    try await stage.whileCoordinating(stage.settings(CoordinatorStage.trigger(afterEvents: 100))) { running in
      // Views that were never refreshed are so at once.
      try await stage.logged(2)
      try stage.write(99, seed: 1)
      try await eventually("99 events are pending") { running.metrics.refresh.pendingEvents.value == 99 }
      try await stage.looked()
      #expect(try stage.log() == ["schedule domains ok", "schedule models ok"])
      try stage.write(1, seed: 2)
      try await stage.logged(4)
      #expect(try stage.log().suffix(2) == ["threshold domains ok", "threshold models ok"])
      try await eventually("nothing is pending") { running.metrics.refresh.pendingEvents.value == 0 }
      #expect(
        running.metrics.refresh.refreshes.series("chat_telemetry_domain_summary", "threshold", "success")
          .value
          == 1)
    }
  }

  @Test("makes up a tick that was missed, once")
  func missedTick() async throws {
    let stage = try CoordinatorStage()
    try stage.write(10, seed: 3)
    _ = try Summaries(connection: stage.database.connect(), schema: stage.database.schema).refresh(
      nil, cause: "manual")
    // Five yearly ticks have passed since, and the next one is a while ahead.
    try stage.database.execute(
      """
      UPDATE @.chat_telemetry_refresh_state
      SET refreshed_at = refreshed_at - interval '5 years', finished_at = finished_at - interval '5 years'
      """)
    var trigger = CoordinatorStage.trigger()
    trigger.schedule = try CronSchedule("@yearly")
    try await stage.whileCoordinating(stage.settings(trigger)) { _ in
      try await stage.logged(4)
      try await stage.looked()
      #expect(try stage.log("trigger <> 'manual'") == ["schedule domains ok", "schedule models ok"])
    }
  }

  @Test("refreshes no more often than the shortest interval, whoever refreshed last")
  func shortestInterval() async throws {
    let stage = try CoordinatorStage()
    let hourly = CoordinatorStage.trigger(afterEvents: 1, minInterval: 3_600_000_000)
    _ = try Summaries(connection: stage.database.connect(), schema: stage.database.schema).refresh(
      nil, cause: "manual")
    try await stage.whileCoordinating(stage.settings(hourly)) { running in
      try stage.write(10, seed: 4)
      try await eventually("10 events are pending") { running.metrics.refresh.pendingEvents.value == 10 }
      try await stage.looked()
      #expect(try stage.log() == ["manual domains ok", "manual models ok"])
      // A fresh process shows when the views were refreshed last.
      let lastSuccess = running.metrics.refresh.lastSuccessTimestamp.series("chat_telemetry_model_summary")
      let before = lastSuccess.value
      #expect(before > 0)
      // And one that somebody makes meanwhile.
      _ = try Summaries(connection: stage.database.connect(), schema: stage.database.schema).refresh(
        nil, cause: "manual")
      try await eventually("the refresh is taken up") { lastSuccess.value > before }
      try stage.write(10, seed: 14)
      // An hour later:
      try stage.database.execute(
        """
        UPDATE @.chat_telemetry_refresh_state
        SET refreshed_at = refreshed_at - interval '1 hour', finished_at = finished_at - interval '1 hour'
        """)
    }
    try await stage.whileCoordinating(stage.settings(hourly)) { _ in
      try await stage.logged(6)
      #expect(try stage.log().suffix(2) == ["threshold domains ok", "threshold models ok"])
    }
  }

  @Test("takes a lease over once it has run out, and gives its own up when it stops")
  func takeover() async throws {
    let stage = try CoordinatorStage()
    let dead = Lease(
      connection: try stage.database.connect(), schema: stage.database.schema, holder: "dead", seconds: 600)
    #expect(try dead.takeOrRenew())
    try await stage.whileCoordinating(stage.settings(CoordinatorStage.trigger())) { running in
      try await eventually("the coordinator works") { running.health.isReady }
      #expect(!running.leads)
      #expect(try stage.holder == "dead")
      try stage.database.execute("UPDATE @.chat_telemetry_lease SET expires_at = now() - interval '1 second'")
      try await eventually("the lease is taken over") { running.leads }
      #expect(try stage.holder == "replica")
    }
    #expect(try stage.holder == nil)
  }

  @Test("is one of two, and the other one once that stops")
  func twoReplicas() async throws {
    let stage = try CoordinatorStage()
    let trigger = CoordinatorStage.trigger(afterEvents: 50)
    let replicas = ["a", "b"].map { RunningCoordinator(stage.settings(trigger, holder: $0)) }
    try await stage.logged(2)
    #expect(replicas.count { $0.leads } == 1)
    for seed in 5...8 as ClosedRange<UInt64> {
      try stage.write(50, seed: seed)
      try await stage.logged(2 * (Int(seed) - 3))
    }
    let (first, second) = replicas[0].leads ? (replicas[0], replicas[1]) : (replicas[1], replicas[0])
    await first.stop()
    #expect(!first.leads)
    try await eventually("the other one takes over") { second.leads }
    try stage.write(50, seed: 9)
    try await stage.logged(12)
    try await stage.looked()
    // Each view at first, and then once for each 50 events.
    #expect(try stage.log().count == 12)
    #expect(
      try stage.database.number("SELECT sum(total_uses) FROM @.chat_telemetry_model_summary")
        == stage.database.number("SELECT count(*) FROM @.truth WHERE model <> ''"))
    await second.stop()
  }

  @Test("folds what has become much although no refresh is due")
  func foldAtBound() async throws {
    let stage = try CoordinatorStage()
    var settings = stage.settings(CoordinatorStage.trigger())
    settings.foldAtDeltaRows = 20
    settings.settleAtDaySketches = 1
    try await stage.whileCoordinating(settings) { _ in
      try await stage.logged(2)
      try stage.write(200, seed: 10)
      try await eventually("the pending table is empty") {
        try stage.database.number("SELECT count(*) FROM @.chat_telemetry_pending_batches") == 0
      }
      try await eventually("the sketches of days are settled") {
        try stage.database.number("SELECT count(*) FROM @.chat_telemetry_day_sketch_deltas") == 0
      }
      #expect(try stage.log().count == 2)
      #expect(try stage.database.number("SELECT sum(total_requests) FROM @.chat_telemetry_totals") == 200)
    }
  }

  @Test("retries a view that fails while the other one goes on")
  func failingView() async throws {
    let stage = try CoordinatorStage()
    try await stage.whileCoordinating(stage.settings(CoordinatorStage.trigger(afterEvents: 10))) { running in
      try await stage.logged(2)
      try stage.database.execute(
        """
        INSERT INTO @.chat_telemetry_totals (domain, model, total_requests, success_count, failure_count,
          total_input_tokens, total_output_tokens, total_cost_usd, total_duration_ms, timed_requests,
          total_searches, total_iterations, first_request_at, last_request_at)
        VALUES (NULL, 'broken', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, now(), now())
        """)
      try stage.write(10, seed: 11)
      try await stage.logged(6)
      #expect(
        try stage.log().prefix(6).dropFirst(2) == [
          "threshold domains ok", "threshold models failed", "threshold models failed",
          "threshold models failed",
        ])
      try stage.database.execute("DELETE FROM @.chat_telemetry_totals WHERE model = 'broken'")
      try await eventually("the view is refreshed") { try stage.log().last == "threshold models ok" }
      #expect(try stage.log().count { $0 == "threshold domains ok" } == 1)
      #expect(running.leads)
    }
  }

  @Test("waits longer after each failure of a fold, and goes on once it works")
  func failingFold() async throws {
    let stage = try CoordinatorStage()
    var settings = stage.settings(CoordinatorStage.trigger())
    settings.foldAtDeltaRows = 1
    try await stage.whileCoordinating(settings) { running in
      try await stage.logged(2)
      try stage.database.execute(
        """
        CREATE FUNCTION @.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more totals'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON @.chat_telemetry_totals FOR EACH ROW EXECUTE FUNCTION @.refuse()
        """)
      try stage.write(10, seed: 12)
      try await eventually("the failure is told") {
        running.health.obstacles["coordinator"]?.contains("no more totals") == true
      }
      try await stage.looked()
      // The lease is still held: another replica could do no better.
      #expect(running.leads)
      try stage.database.execute("DROP TRIGGER refuse ON @.chat_telemetry_totals")
      try await eventually("the deltas are folded") {
        try stage.database.number("SELECT count(*) FROM @.chat_telemetry_pending_batches") == 0
      }
      try await eventually("the coordinator is well") { running.health.isReady }
    }
  }

  @Test("goes on after the database was restarted")
  func restart() async throws {
    let server = try PrivateServer(settings: ["fsync": "off"])
    defer { server.remove() }
    let stage = try CoordinatorStage(on: server)
    try await stage.whileCoordinating(stage.settings(CoordinatorStage.trigger(afterEvents: 10))) { running in
      try await stage.logged(2)
      try server.stop(.immediate)
      try await eventually("the failure is told") { !running.health.isReady }
      #expect(!running.leads)
      try server.start()
      try await eventually("the coordinator leads again") { running.leads }
      try CoordinatorStage.write(10, seed: 13, to: EventStore(stage.database, partition: 1))
      try await stage.logged(4)
      #expect(try stage.log().suffix(2) == ["threshold domains ok", "threshold models ok"])
    }
  }
}
