import ArgumentParser

/// A place in a topic's partitions as an operator writes it: where reading begins or ends.
enum ReplayPoint: ExpressibleByArgument, Equatable, Sendable {
  /// The oldest record that the brokers keep.
  case earliest
  /// Behind the last record.
  case latest
  /// The record of this offset, 0 and up.
  case offset(Int64)
  /// The first record stamped at or after this time.
  case time(PointOrAge)

  /// `earliest`, `latest`, an offset in digits, an RFC 3339 time, or how long ago it was: `90m`, `7d`.
  init?(argument: String) {
    switch argument {
    case "earliest": self = .earliest
    case "latest": self = .latest
    default:
      if SettingKey.isInteger(argument) {
        guard let offset = Int64(argument), offset >= 0 else { return nil }
        self = .offset(offset)
      } else if let time = PointOrAge(argument: argument) {
        self = .time(time)
      } else {
        return nil
      }
    }
  }
}
