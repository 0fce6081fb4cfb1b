import Testing

@testable import Coordinator

@Suite("Cron expressions that are refused")
struct CronParserTests {
  @Test(
    "the message names the field, the value and what is allowed",
    arguments: [
      ("60 * * * *", "minute", "60", "0 to 59"), ("* 24 * * *", "hour", "24", "0 to 23"),
      ("* * 0 * *", "day of month", "0", "1 to 31"), ("* * 32 * *", "day of month", "32", "1 to 31"),
      ("* * * 13 *", "month", "13", "1 to 12, jan to dec"), ("* * * foo *", "month", "foo", "jan to dec"),
      ("* * * * 8", "day of week", "8", "0 to 7, sun to sat"),
      ("* * * * monday", "day of week", "monday", "sun to sat"),
      ("jan * * * *", "minute", "jan", "0 to 59"), ("-1 * * * *", "minute", "", "0 to 59"),
      ("+1 * * * *", "minute", "+1", "0 to 59"), ("1.5 * * * *", "minute", "1.5", "0 to 59"),
      ("1,,2 * * * *", "minute", "", "0 to 59"), ("1, * * * *", "minute", "", "0 to 59"),
      ("5- * * * *", "minute", "", "0 to 59"), ("1-2-3 * * * *", "minute", "2-3", "0 to 59"),
      ("** * * * *", "minute", "**", "0 to 59"), ("*/0 * * * *", "minute", "*/0", "1 to 60"),
      ("*/61 * * * *", "minute", "*/61", "1 to 60"), ("*/-1 * * * *", "minute", "*/-1", "1 to 60"),
      ("*/ * * * *", "minute", "*/", "1 to 60"), ("5/15 * * * *", "minute", "5/15", "5-59/15"),
      ("1/2/3 * * * *", "minute", "1/2/3", "range before it"), ("* 22-2 * * *", "hour", "22-2", "22-23,0-2"),
      ("* * * dec-jan *", "month", "dec-jan", "ascend"), ("* * * * ?", "day of week", "?", "0 to 7"),
      ("* * L * *", "day of month", "l", "1 to 31"),
      ("99999999999999999999 * * * *", "minute", "9999", "0 to 59"),
      ("٣ * * * *", "minute", "٣", "0 to 59"),
    ])
  func refused(expression: String, field: String, value: String, allowed: String) {
    let error = #expect(throws: CronError.self) { try CronSchedule(expression) }
    let message = error?.description ?? ""
    #expect(
      message.hasPrefix("\(field) \"") && message.contains(value) && message.contains(allowed), "\(message)")
  }

  @Test(
    "a wrong number of fields is said",
    arguments: [("", 0), ("* * * *", 4), ("* * * * * *", 6), ("daily", 1)])
  func fieldCount(expression: String, count: Int) {
    #expect(throws: CronError.notFiveFields(expression, count: count)) { try CronSchedule(expression) }
  }

  @Test("a nickname that is not known is refused with those that are", arguments: ["@reboot", "@every", "@"])
  func nicknames(name: String) {
    let error = #expect(throws: CronError.unknownNickname(name)) { try CronSchedule(name) }
    #expect(error?.description.contains("@hourly") == true)
  }

  @Test(
    "a day that never comes is refused at once",
    arguments: ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 feb */2"])
  func neverDue(expression: String) {
    #expect(throws: CronError.neverDue(expression)) { try CronSchedule(expression) }
  }

  @Test("a day that never comes is fine beside a weekday, either being enough")
  func neverDueButForTheWeekday() throws {
    _ = try CronSchedule("0 0 30 2 mon")
  }

  @Test(
    "a zone that is none is refused, and so are abbreviations",
    arguments: ["Europe/Atlantis", "CEST", "+02:00", "", "GMT+2", "../../etc/passwd"])
  func zones(name: String) {
    #expect(throws: CronError.unknownZone(name)) { try CronZone(name) }
  }

  @Test(
    "different spellings mean the same",
    arguments: [
      ("0 0 * * 7", "0 0 * * SUN"), ("0 0 * * fri-sun", "0 0 * * 0,5,6"), ("\t0  0 * *\t1 ", "0 0 * * mon"),
      ("00 007 * * *", "0 7 * * *"), ("@daily", "@midnight"), ("*/60 * * * *", "@hourly"),
      ("0 0 1 1-1 *", "@yearly"),
      ("0 0 * * sun-sat", "0 0 * * 0-6"),
    ])
  func spellings(one: String, other: String) throws {
    #expect(try CronSchedule(one).fields.sets == CronSchedule(other).fields.sets)
  }
}

extension CronFields {
  fileprivate var sets: [UInt64] { [minutes, hours, daysOfMonth, months, daysOfWeek] }
}
