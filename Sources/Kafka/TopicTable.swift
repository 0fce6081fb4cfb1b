import CRdKafka

/// Turns librdkafka's topic pointers into small numbers and shared names, so that no record makes a string.
struct TopicTable {
  private(set) var names: [String] = []
  private var idsByPointer: [OpaquePointer: Int] = [:]
  private var lastPointer: OpaquePointer?
  private var lastID = 0

  /// Most records follow one of the same topic: those cost one comparison.
  mutating func id(of topic: OpaquePointer) -> Int {
    if topic == lastPointer { return lastID }
    lastID = idsByPointer[topic] ?? intern(topic)
    lastPointer = topic
    return lastID
  }

  /// To be called when the assignment changes: an unassigned topic may be freed, and another one may then
  /// come to lie at its address. Numbers already given stay.
  mutating func forgetPointers() {
    idsByPointer.removeAll(keepingCapacity: true)
    lastPointer = nil
  }

  private mutating func intern(_ topic: OpaquePointer) -> Int {
    let name = String(cString: rd_kafka_topic_name(topic))
    let id = names.firstIndex(of: name) ?? names.count
    if id == names.count { names.append(name) }
    idsByPointer[topic] = id
    return id
  }
}
