/// The floor: nothing but the encoded rows, copied into the same table with the same key and partitions.
struct FloorRun {
  let surroundings: Surroundings
  let rows: EncodedRows

  func run() throws -> StoredRun {
    try surroundings.measureStoring(rows, areRolledUp: false) { connection, batch in
      try batch.copy(into: connection, "chat_telemetry")
    }
  }
}
