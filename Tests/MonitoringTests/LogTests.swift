import Foundation
import Logging
import Synchronization
import Testing

@testable import Monitoring

/// Keeps log lines instead of writing them.
final class LogRecorder: Sendable {
  private let kept = Mutex<[String]>([])

  var lines: [String] { kept.withLock { $0 } }

  func logger(format: LogFormat = .text, level: Logger.Level = .trace, now: Int64 = 0) -> Logger {
    Logger(label: "test") { label in
      LineLogHandler(
        label: label, format: format, level: level,
        output: LogOutput { line in self.kept.withLock { $0.append(line) } }, now: { now })
    }
  }
}

private struct Broken: Error, CustomStringConvertible {
  var description: String
}

@Suite("Log lines")
struct LogTests {
  private let time: Int64 = 1_763_831_632_012_345  // 2025-11-22T17:13:52.012345Z by `date -u -d @1763831632`

  @Test("text shows time, level, message and key=value, sorted and quoted where needed")
  func text() {
    let log = LogRecorder()
    log.logger(now: time).warning(
      "lost the broker",
      metadata: ["topic": "chat", "reason": "not found = gone", "n": .stringConvertible(3)])
    #expect(
      log.lines == [
        "2025-11-22T17:13:52.012345Z WARN  lost the broker n=3 reason=\"not found = gone\" topic=chat\n"
      ])
  }

  @Test("JSON has time, level, message and flat metadata, and numbers stay numbers")
  func json() throws {
    let log = LogRecorder()
    log.logger(format: .json, now: time).info(
      "done",
      metadata: [
        "n": .stringConvertible(3), "x": .stringConvertible(0.5), "ok": .stringConvertible(true),
        "nested": ["a": "b", "c": ["d": "e"]], "list": ["p", .stringConvertible(1), ["k": "v"]],
        "odd": .stringConvertible(Double.infinity),
      ])
    #expect(
      log.lines == [
        #"{"ts":"2025-11-22T17:13:52.012345Z","level":"info","msg":"done","logger":"test","#
          + #""list":["p",1,{"k":"v"}],"n":3,"nested.a":"b","nested.c.d":"e","odd":"inf","ok":true,"x":0.5}"#
          + "\n"
      ])
  }

  private static let hostile = [
    "", "line\nfeed", "carriage\r\nreturn", #"quote " and \ backslash"#, "\u{0}\u{1}\u{1F}\u{7F}\u{85}",
    "tab\t",
    "\u{1B}[31mred\u{1B}[0m", "\u{2028}\u{2029}", "\u{202E}reversed", "日本 🙂 e\u{301}", #"{"ts":"forged"}"#,
    String(repeating: "long ", count: 20_000),
  ]

  @Test(
    "whatever a message, key or value holds, JSON is one valid object on one line with the same words",
    arguments: hostile)
  func jsonIsAlwaysValid(text: String) throws {
    let log = LogRecorder()
    log.logger(format: .json).error(
      "\(text)", metadata: ["value": "\(text)", "key \(text)": "v", "list": ["\(text)"]])
    let line = try #require(log.lines.first)
    #expect(line.utf8.filter { $0 == UInt8(ascii: "\n") }.count == 1 && line.hasSuffix("}\n"))
    let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(object["msg"] as? String == text)
    #expect(object["value"] as? String == text)
    #expect(object["key \(text)"] as? String == "v")
    #expect(object["list"] as? [String] == [text])
  }

  @Test("metadata named like the line's own keys does not replace them, and no key stands twice")
  func reservedKeys() throws {
    let log = LogRecorder()
    log.logger(format: .json).info(
      "real", metadata: ["msg": "forged", "ts": "forged", "a.b": "flat", "a": ["b": "nested"]])
    let line = try #require(log.lines.first)
    let object = try #require(JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(object["msg"] as? String == "real")
    #expect(object["metadata.msg"] as? String == "forged")
    #expect(line.components(separatedBy: "\"a.b\":").count == 2)
  }

  @Test("a text line stays one line and cannot steer the terminal", arguments: hostile)
  func textIsSafe(text: String) throws {
    let log = LogRecorder()
    log.logger().error("\(text)", metadata: ["value": "\(text)", "\(text)": "v"])
    let line = try #require(log.lines.first)
    let unsafe = line.unicodeScalars.dropLast().filter {
      $0.value < 0x20 || (0x7F...0x9F).contains($0.value) || (0x2028...0x202E).contains($0.value)
    }
    #expect(unsafe.isEmpty)
  }

  @Test("the error and the logger's own metadata are part of the line, the statement's value winning")
  func merging() {
    let log = LogRecorder()
    var logger = log.logger()
    logger[metadataKey: "role"] = "all"
    logger[metadataKey: "worker"] = "w1"
    logger.error("failed", error: Broken(description: "no route"), metadata: ["role": "consumer"])
    #expect(log.lines.first?.hasSuffix("ERROR failed error=\"no route\" role=consumer worker=w1\n") == true)
  }

  @Test("nothing below the level is written")
  func level() {
    let log = LogRecorder()
    let logger = log.logger(level: .warning)
    logger.info("quiet")
    logger.warning("loud")
    #expect(log.lines.count == 1)
  }

  @Test("lines of many writers never mix, even where a pipe takes them in pieces")
  func wholeLines() async throws {
    let pipe = Pipe()
    let output = LogOutput(fileDescriptor: pipe.fileHandleForWriting.fileDescriptor)
    // A non-blocking pipe refuses and splits long lines: the hard case.
    _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFL, O_NONBLOCK)
    let reader = Task.detached { () -> Data in
      await withCheckedContinuation { done in
        Thread.detachNewThread { done.resume(returning: pipe.fileHandleForReading.readDataToEndOfFile()) }
      }
    }
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
      Thread.detachNewThread {
        DispatchQueue.concurrentPerform(iterations: 6) { writer in
          for _ in 0..<5 { output.write(String(repeating: "\(writer)", count: 50_000) + "\n") }
        }
        done.resume()
      }
    }
    try pipe.fileHandleForWriting.close()
    let lines = String(decoding: await reader.value, as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 30)
    #expect(lines.allSatisfy { line in line.count == 50_000 && line.allSatisfy { $0 == line.first } })
  }

  @Test(
    "times are RFC 3339 in UTC to the microsecond",
    arguments: [
      // Seconds by `date -u -d TEXT +%s`.
      (0, "1970-01-01T00:00:00.000000Z"), (-1, "1969-12-31T23:59:59.999999Z"),
      (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
      (4_107_542_399_999_999, "2100-02-28T23:59:59.999999Z"),
      (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
      (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
      (-62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
    ] as [(Int64, String)])
  func times(microseconds: Int64, text: String) {
    #expect(WallClock.rfc3339(microseconds) == text)
  }
}
