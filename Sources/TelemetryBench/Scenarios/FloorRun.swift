import Postgres

/// The floor: nothing but the encoded rows, copied into the same table with the same key and partitions.
struct FloorRun {
  let surroundings: Surroundings
  let rows: EncodedRows
  /// Batches that are copied in one transaction, as the worker copies the parts of one of its own.
  let batchesInTransaction: Int

  func run() throws -> StoredRun {
    try surroundings.measureStoring(
      rows, areRolledUp: false, batchesInTransaction: batchesInTransaction
    ) { connection, batch in
      try batch.copy(into: connection, "chat_telemetry")
    }
  }
}
