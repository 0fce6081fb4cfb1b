import Foundation
import Testing

@testable import Coordinator

/// Seconds since the epoch of `2027-01-31 00:05` in UTC, or `2027-01-31 00:05 -0400`, by the C library's
/// calendar.
private func seconds(_ text: String) -> Int64 {
  let numbers = text.split { !$0.isNumber }.compactMap { Int32($0) }
  var clock = tm()
  clock.tm_year = numbers[0] - 1_900
  clock.tm_mon = numbers[1] - 1
  clock.tm_mday = numbers[2]
  clock.tm_hour = numbers[3]
  clock.tm_min = numbers[4]
  let west = numbers.count > 5 ? Int64(numbers[5] / 100 * 3_600) : 0
  return Int64(timegm(&clock)) + west
}

private func ticks(_ schedule: CronSchedule, from start: Int64, to end: Int64) -> [Int64] {
  var ticks: [Int64] = []
  var instant = start * 1_000_000 - 1
  while let next = schedule.next(after: instant), next < end * 1_000_000 {
    ticks.append(next / 1_000_000)
    instant = next
  }
  return ticks
}

@Suite("Cron schedules")
struct CronScheduleTests {
  @Test(
    "the next ticks are those of croniter 6 in UTC",
    arguments: [
      ("5 * * * *", ["2027-01-31 00:05", "2027-01-31 01:05", "2027-01-31 02:05"]),
      ("*/7 * * * *", ["2027-01-31 00:00", "2027-01-31 00:07", "2027-01-31 00:14"]),
      ("10-40/10 8-18 * * mon-fri", ["2027-02-01 08:10", "2027-02-01 08:20", "2027-02-01 08:30"]),
      ("0 12 13 * 5", ["2027-02-05 12:00", "2027-02-12 12:00", "2027-02-13 12:00"]),
      ("0 0 31 * *", ["2027-01-31 00:00", "2027-03-31 00:00", "2027-05-31 00:00"]),
      ("0 0 29 FEB *", ["2028-02-29 00:00", "2032-02-29 00:00", "2036-02-29 00:00"]),
      ("0 0 * jan-mar,DEC Sun", ["2027-01-31 00:00", "2027-02-07 00:00", "2027-02-14 00:00"]),
      ("@hourly", ["2027-01-31 00:00", "2027-01-31 01:00", "2027-01-31 02:00"]),
      ("@daily", ["2027-01-31 00:00", "2027-02-01 00:00", "2027-02-02 00:00"]),
      ("@midnight", ["2027-01-31 00:00", "2027-02-01 00:00", "2027-02-02 00:00"]),
      ("@weekly", ["2027-01-31 00:00", "2027-02-07 00:00", "2027-02-14 00:00"]),
      ("@Monthly", ["2027-02-01 00:00", "2027-03-01 00:00", "2027-04-01 00:00"]),
      ("@yearly", ["2028-01-01 00:00", "2029-01-01 00:00", "2030-01-01 00:00"]),
      ("@annually", ["2028-01-01 00:00", "2029-01-01 00:00", "2030-01-01 00:00"]),
      ("0 0 * * 5-7", ["2027-01-31 00:00", "2027-02-05 00:00", "2027-02-06 00:00"]),
      ("0 0 */2 * *", ["2027-01-31 00:00", "2027-02-01 00:00", "2027-02-03 00:00"]),
      ("0 4 8-14 * 6", ["2027-02-06 04:00", "2027-02-08 04:00", "2027-02-09 04:00"]),
      ("45 1,2 * * 7", ["2027-01-31 01:45", "2027-01-31 02:45", "2027-02-07 01:45"]),
      ("2-58/8 0-23/3 * * *", ["2027-01-31 00:02", "2027-01-31 00:10", "2027-01-31 00:18"]),
      ("0 0 30 4,6,9,11 2", ["2027-04-06 00:00", "2027-04-13 00:00", "2027-04-20 00:00"]),
      ("0 9 * 2 1-5/2", ["2027-02-01 09:00", "2027-02-03 09:00", "2027-02-05 09:00"]),
    ])
  func vectors(expression: String, expected: [String]) throws {
    let schedule = try CronSchedule(expression)
    var instant = (seconds("2027-01-30 23:59") + 30) * 1_000_000
    for text in expected {
      instant = try #require(schedule.next(after: instant))
      #expect(instant == seconds(text) * 1_000_000, "\(text)")
    }
  }

  @Test(
    "a leap year's ticks in UTC are those found minute by minute",
    arguments: [
      "*/5 * * * *", "5 * * * *", "10-40/10 8-18 * * mon-fri", "0 0 * * *", "0 12 13 * 5", "0 0 29-31 * *",
      "13 3 1-10 3,11 *", "59 23 31 12 *", "0 0 */2 * */3", "7,37 22-23,0-2 * 2-4 sat,SUN",
    ])
  func aYearByBruteForce(expression: String) throws {
    let (start, end) = (seconds("2028-01-01 00:00"), seconds("2029-01-01 00:00"))
    let expected = CronTruth(expression).ticks(from: start, to: end) { _ in 0 }
    #expect(!expected.isEmpty)
    #expect(ticks(try CronSchedule(expression), from: start, to: end) == expected)
  }

  @Test(
    "weeks around every kind of clock change have the ticks found minute by minute",
    arguments: [
      // One hour; half an hour; a gap at midnight; a negative change for Ramadan; an odd offset.
      ("America/New_York", "2027-03-10 00:00"), ("America/New_York", "2027-11-03 00:00"),
      ("Australia/Lord_Howe", "2027-04-01 00:00"), ("Australia/Lord_Howe", "2027-10-01 00:00"),
      ("Asia/Beirut", "2027-03-25 00:00"), ("Asia/Beirut", "2027-10-28 00:00"),
      ("Africa/Casablanca", "2027-02-04 00:00"), ("Africa/Casablanca", "2027-03-11 00:00"),
      ("Pacific/Chatham", "2027-04-01 00:00"), ("Europe/Berlin", "2027-03-25 00:00"),
    ])
  func clockChanges(zoneName: String, start: String) throws {
    let start = seconds(start)
    let end = start + 8 * 86_400
    let zone = try #require(TimeZone(identifier: zoneName))
    func offset(_ instant: Int64) -> Int64 {
      Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant))))
    }
    #expect(offset(start) != offset(end), "the span has a clock change")
    for expression in [
      "30 2 * * *", "0 2 * * *", "0 3 * * *", "15,45 1-3 * * *", "30 0 * * *", "0 0 * * *", "30 23 * * *",
      "*/15 2 * * *", "10 * * * *", "*/30 * * * *", "0 */2 * * *", "30 2 * * sun", "45 1 14 3 *", "* 2 * * *",
    ] {
      let expected = CronTruth(expression).ticks(from: start, to: end, offset: offset)
      #expect(
        ticks(try CronSchedule(expression, zone: CronZone(zoneName)), from: start, to: end) == expected,
        "\(expression)")
    }
  }

  @Test("a fixed time that the clocks skip runs once, right after the gap, whoever asks when")
  func springForward() throws {
    let schedule = try CronSchedule("15,45 2 * * *", zone: CronZone("America/New_York"))
    let change = seconds("2027-03-14 03:00 -0400")
    for before in [1, 59, 60, 3_600, 20_000] as [Int64] {
      #expect(schedule.next(after: (change - before) * 1_000_000) == change * 1_000_000, "\(before) s before")
    }
    #expect(schedule.next(after: change * 1_000_000) == seconds("2027-03-15 02:15 -0400") * 1_000_000)
  }

  @Test("a fixed time that comes twice runs the first time only, also when asked in between")
  func fallBack() throws {
    let schedule = try CronSchedule("30 1 * * *", zone: CronZone("America/New_York"))
    let first = seconds("2027-11-07 01:30 -0400")
    let nextDay = seconds("2027-11-08 01:30 -0500")
    #expect(schedule.next(after: (first - 1) * 1_000_000) == first * 1_000_000)
    for after in [0, 1, 1_799, 1_800, 1_801, 3_599, 3_600, 5_400] as [Int64] {
      #expect(schedule.next(after: (first + after) * 1_000_000) == nextDay * 1_000_000, "\(after) s after")
    }
  }

  @Test("an hourly schedule runs in both passes of the repeated hour and never in the gap")
  func wildcardHours() throws {
    let schedule = try CronSchedule("30 * * * *", zone: CronZone("America/New_York"))
    let autumn = seconds("2027-11-07 00:30 -0400")
    #expect(
      ticks(schedule, from: autumn, to: autumn + 4 * 3_600).map { $0 - autumn } == [0, 3_600, 7_200, 10_800])
    let spring = seconds("2027-03-14 01:30 -0500")
    #expect(ticks(schedule, from: spring, to: spring + 7_201).map { $0 - spring } == [0, 3_600, 7_200])
  }

  @Test("the next tick lies strictly after the instant, to the microsecond, also before 1970")
  func strictlyAfter() throws {
    let schedule = try CronSchedule("* * * * *")
    #expect(schedule.next(after: 0) == 60_000_000)
    #expect(schedule.next(after: 59_999_999) == 60_000_000)
    #expect(schedule.next(after: 60_000_000) == 120_000_000)
    #expect(schedule.next(after: -1) == 0)
    #expect(schedule.next(after: -60_000_001) == -60_000_000)
  }

  @Test("29 February on one weekday is found across 2100, and absurd instants have no tick")
  func longWaits() throws {
    let schedule = try CronSchedule("0 0 29 2 */7")
    let leapSundays = (2_000...2_150).filter { year in
      year % 4 == 0 && year != 2_100 && weekday(of: seconds("\(year)-02-29 00:00")) == 0
    }
    #expect(leapSundays.contains { $0 > 2_100 })
    var instant = seconds("2000-01-01 00:00") * 1_000_000
    for year in leapSundays {
      instant = try #require(schedule.next(after: instant))
      #expect(instant == seconds("\(year)-02-29 00:00") * 1_000_000)
    }
    #expect(schedule.next(after: .max) == nil)
    #expect(schedule.next(after: .min) == nil)
  }

  private func weekday(of second: Int64) -> Int32 {
    var time = time_t(second)
    var clock = tm()
    gmtime_r(&time, &clock)
    return clock.tm_wday
  }

  @Test("a wildcard schedule whose every time is skipped ends the search instead of looking for ever")
  func neverOnTheClock() throws {
    // The second Sunday of March at 2 o'clock, which New York skips each year; Vixie cron never runs it
    // either.
    let schedule = try CronSchedule("* 2 8-14 3 */7", zone: CronZone("America/New_York"))
    #expect(schedule.next(after: seconds("2027-01-01 00:00") * 1_000_000) == nil)
  }
}
