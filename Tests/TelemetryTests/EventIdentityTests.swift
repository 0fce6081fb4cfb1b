import Telemetry
import Testing

// The version 5 UUIDs expected here were computed with Python's uuid.uuid5.
@Suite("The id of an event")
struct EventIdentityTests {
  @Test(
    "A UUID in any of its spellings is itself",
    arguments: [
      "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c", "0B7F6A52-3D5C-4E0E-9F5C-7C1F2F3A4B5C",
      "0b7f6a523d5c4e0e9f5c7c1f2f3a4b5c", "{0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c}",
      "urn:uuid:0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c", "URN:UUID:0B7F6A52-3d5c-4e0e-9f5c-7c1f2f3a4b5c",
    ])
  func spellings(_ text: String) throws {
    let event = try DecodedEvent(#""id":"\#(text)""#)
    #expect(event.id == "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c")
    #expect(event.facts.key.idHigh == 0x0b7f_6a52_3d5c_4e0e)
    #expect(event.facts.key.idLow == 0x9f5c_7c1f_2f3a_4b5c)
    #expect(event.repairs == RepairCounts())
  }

  @Test(
    "Another string stands for the UUID of its name, as given",
    arguments: [
      ("req-1", "73920e5a-3aeb-55a4-91a6-fd373b5489d5"), (" x ", "4a24f39e-f3ab-5c1c-b785-da0d5a0bf67b"),
      (#"a\u0000é"#, "3d7f18c6-d5c2-5955-90b8-e9d59e194ec3"),
    ])
  func names(_ text: String, _ uuid: String) throws {
    #expect(try DecodedEvent(#""id":"\#(text)""#).id == uuid)
  }

  @Test(
    "What only looks like a UUID is a name",
    arguments: [
      "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5g", "0b7f6a52 3d5c-4e0e-9f5c-7c1f2f3a4b5c",
      "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5", "{0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c)",
      "urn:uuie:0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c", "0b7f6a523d5c4e0e9f5c7c1f2f3a4b5:",
      " 0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c", "0b7f6a523-d5c-4e0e-9f5c-7c1f2f3a4b5c",
    ])
  func lookalikes(_ text: String) throws {
    let id = try #require(try DecodedEvent(#""id":"\#(text)""#).id)
    #expect(Array(id.utf8)[14] == UInt8(ascii: "5"))
    #expect(id != "0b7f6a52-3d5c-4e0e-9f5c-7c1f2f3a4b5c")
  }

  @Test(
    "An event without an id is known by its coordinates, and counted",
    arguments: ["", #""id":null"#, #""id":"""#, #""id":" \u3000\t""#, #""id":"a","id":null"#])
  func missing(_ id: String) throws {
    let event = try DecodedEvent(id)
    #expect(event.id == "14cae7db-0f44-5dee-8c3c-7bb71f7d766a")
    #expect(event.repairs[.missingID] == 1)
  }

  @Test(
    "Coordinates are written in decimal, to their very ends",
    arguments: [
      (Int32(0), Int64.min, "a9f16e75-921c-5075-b468-f07eea3e7f7a"),
      (Int32(10), Int64.max, "d5b6a85b-122f-56a6-b85c-f45a074f9ae0"),
    ])
  func coordinates(_ partition: Int32, _ offset: Int64, _ uuid: String) throws {
    let record = RecordCoordinates(topic: "chat-telemetry", partition: partition, offset: offset)
    #expect(try DecodedEvent(value: Array(DecodedEvent.json().utf8), at: record).id == uuid)
  }

  @Test("An id that is no string is wrong_type", arguments: ["1", "true", "[]", "{}"])
  func wrongType(_ id: String) {
    #expect(rejection(#""id":\#(id)"#)?.reason == .wrongType)
  }

  @Test("The last of several members with one name counts, however the name is escaped")
  func duplicates() throws {
    let event = try DecodedEvent(#""id":7,"\u0069d":"req-1","domain":"a","d\u006Fmain":null"#)
    #expect(event.id == "73920e5a-3aeb-55a4-91a6-fd373b5489d5")
    #expect(event.domain == nil)
    #expect(rejection(#""model":"m","model":null"#)?.reason == .missingField)
  }
}
