import Kafka
import Testing

@Suite("Kafka properties")
struct PropertiesTests {
  private func consumer(_ properties: [String: String]) throws {
    _ = try Consumer(brokers: "127.0.0.1:1", group: "group", properties: KafkaProperties(properties))
  }

  @Test("An unknown property is refused by name, with librdkafka's reason")
  func unknown() throws {
    let error = try #require(throws: KafkaError.self) { try consumer(["no.such.setting": "1"]) }
    #expect(error.operation.contains("\"no.such.setting\""))
    #expect(error.message.contains("No such configuration property"))
    #expect(error.description.contains("no.such.setting"))
  }

  @Test("A bad value is refused by name")
  func badValue() throws {
    let error = try #require(throws: KafkaError.self) {
      try consumer(["security.protocol": "carrier-pigeon"])
    }
    #expect(error.operation.contains("\"security.protocol\""))
    #expect(error.message.contains("Invalid value"))
  }

  @Test("Settings that only clash together are refused with a reason")
  func clash() throws {
    let error = try #require(throws: KafkaError.self) {
      try consumer(["session.timeout.ms": "60000", "max.poll.interval.ms": "10000"])
    }
    #expect(error.message.contains("max.poll.interval.ms"))
  }

  @Test(
    "A property that the client's promises hang on is refused",
    arguments: [
      "group.id", "enable.auto.commit", "enable.auto.offset.store", "auto.offset.reset", "isolation.level",
      "partition.assignment.strategy", "enable.partition.eof", "bootstrap.servers", "metadata.broker.list",
      "auto.commit.interval.ms",
    ])
  func owned(name: String) throws {
    let properties = KafkaProperties([name: "x", "client.id": "me"])
    #expect(properties.ownedNames == [name])
    let error = try #require(throws: KafkaError.self) { try consumer(properties.values) }
    #expect(error.operation.contains("\"\(name)\""))
    #expect(throws: KafkaError.self) { try Producer(brokers: "127.0.0.1:1", properties: properties) }
  }

  @Test("A bound of the client's own can be changed by the user")
  func overridable() throws {
    try consumer(["queued.max.messages.kbytes": "1024", "group.instance.id": "a"])
  }

  @Test("No secret is shown, however the properties or their error are printed")
  func secrets() throws {
    let names = [
      "sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem", "ssl.certificate.pem",
      "sasl.oauthbearer.client.secret", "sasl.oauthbearer.config", "SASL.Password",
    ]
    let properties = KafkaProperties(
      Dictionary(uniqueKeysWithValues: names.map { ($0, "hunter2") }).merging(["client.id": "me"]) { $1 })
    var dumped = ""
    dump(properties, to: &dumped)
    for text in ["\(properties)", String(reflecting: properties), dumped] {
      #expect(!text.contains("hunter2"))
      #expect(text.contains("sasl.password"))
      #expect(text.contains("me"))
    }
    let error = try #require(throws: KafkaError.self) {
      try consumer(["security.protocol": "ssl", "ssl.key.pem": "hunter2"])
    }
    #expect(!"\(error)".contains("hunter2"))
  }
}
