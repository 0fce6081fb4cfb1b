/// The texts of a ``StringTable``, by the same numbers, to be kept and handed on.
public struct TextList: Sendable {
  private let bytes: [UInt8]
  private let places: ContiguousArray<ByteRange>

  init(_ table: borrowing StringTable) {
    bytes = Array(table.allBytes)
    places = table.places
  }

  /// The UTF-8 bytes of a text; nil for ``StringTable/null``.
  public func bytes(_ id: Int32) -> ArraySlice<UInt8>? {
    if id == StringTable.null { return nil }
    let place = places[Int(id)]
    return bytes[place.offset..<place.offset + place.count]
  }

  /// The text; nil for ``StringTable/null``.
  public func string(_ id: Int32) -> String? { bytes(id).map { String(decoding: $0, as: UTF8.self) } }
}
