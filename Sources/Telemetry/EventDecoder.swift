import CEventDecoder

/// Turns a Kafka record's value into a row for COPY and the facts that the rollups need.
///
/// The value as a whole is judged first (UTF-8, JSON, an object, its depth), then the fields, and the first
/// fault found is the reason. Their order: `created_at`, `end_time`, `start_time`, one of them must be there,
/// and event time; `id`, `session_id`, `conversation_id`, `domain`, `model`; `duration_ms`, `iterations`,
/// `max_iterations`; the shape of `searches`, `search_count`, `total_results`, `final_response_length`,
/// `input_tokens`, `output_tokens`, `cost_usd`; `success`, `error`, `user_agent`, `ip_address`.
///
/// It allocates nothing for an event that is accepted, but what libcrypto does for an id that is no UUID. Not
/// thread-safe: it belongs to whoever owns it.
public struct EventDecoder: ~Copyable {
  private let rules: DecodingRules
  private let parser: OpaquePointer
  /// One slot for each `RawColumn`, filled by each parse.
  private let slots: UnsafePointer<event_field>
  private var nameIDs: NameIDs
  /// The bit of each `RawColumn` that is not stored.
  private let droppedColumns: UInt32

  public init(rules: DecodingRules) {
    guard let parser = event_parser_create() else {
      preconditionFailure("libcrypto offers no SHA-1, which the ids of events without a UUID are made with")
    }
    precondition(RawColumn.allCases.count == Int(EVENT_FIELD_COUNT.rawValue))
    self.rules = rules
    self.parser = parser
    slots = event_parser_fields(parser)
    nameIDs = NameIDs(parser: parser)
    droppedColumns = rules.dropFields.reduce(0) { $0 | 1 << UInt32($1.column.rawValue) }
  }

  deinit { event_parser_destroy(parser) }

  /// Appends one row in COPY BINARY format, its fields in the order of `RawColumn`, to `rows`.
  ///
  /// The facts' ranges point into `rows`. On a rejection `rows` and `repairs` stay as they were.
  ///
  /// - Parameters:
  ///   - value: The record's value, at most 2^31-1 bytes.
  ///   - record: Where it stands: the identity of an event that has no id.
  ///   - nowMicros: The present in microseconds since 1970, for judging event time.
  ///   - rows: Where the row goes.
  ///   - repairs: Where what had to be mended in this event is added.
  /// - Throws: The reason why it cannot be stored.
  public mutating func decode(
    _ value: UnsafeRawBufferPointer, at record: RecordCoordinates, nowMicros: Int64,
    into rows: inout ByteArena, repairs: inout RepairCounts
  ) throws(Rejection) -> EventFacts {
    let status = event_parser_parse(parser, value.baseAddress, value.count)
    guard status == EVENT_PARSED else {
      throw .document(status, errorOffset: event_parser_error_offset(parser), value)
    }
    let start = rows.count
    var row = RowRepairs()
    do throws(Rejection) {
      let facts = try encode(record, nowMicros, into: &rows, &row)
      row.add(to: &repairs)
      return facts
    } catch {
      rows.truncate(to: start)
      throw error
    }
  }

  @inline(__always)
  private func field(_ column: RawColumn) -> EventField { EventField(column, of: slots) }
}

/// What was mended in one event.
struct RowRepairs {
  var nulCharacters = 0
  var loneSurrogates = 0
  var missingID = false
  var negativeDuration = false
  var searchResults = 0

  /// Called for what is stored of a field.
  @inline(__always)
  mutating func note(_ field: EventField) {
    nulCharacters += field.nulRepairs
    loneSurrogates += field.surrogateRepairs
  }

  func add(to counts: inout RepairCounts) {
    if nulCharacters > 0 { counts[.nulCharacter] += nulCharacters }
    if loneSurrogates > 0 { counts[.loneSurrogate] += loneSurrogates }
    if missingID { counts[.missingID] += 1 }
    if negativeDuration { counts[.negativeDuration] += 1 }
    if searchResults > 0 { counts[.searchResults] += searchResults }
  }
}

// The row, field by field.
extension EventDecoder {
  private mutating func encode(
    _ record: RecordCoordinates, _ nowMicros: Int64, into rows: inout ByteArena, _ repairs: inout RowRepairs
  ) throws(Rejection) -> EventFacts {
    let times = try EventTimes(
      created: field(.createdAt), end: field(.endTime), start: field(.startTime), nowMicros: nowMicros,
      rules: rules)
    let id = try eventID(record, &repairs)
    var facts = EventFacts(
      key: EventKey(
        createdAt: times.event + PostgresTime.unixEpochOffset, idHigh: id.high, idLow: id.low))

    rows.appendRowHeader(fieldCount: RawColumn.allCases.count)
    rows.appendField(time: times.event)
    rows.appendField(uuid: id)
    try appendNames(to: &rows, &facts, &repairs)
    rows.appendField(time: times.start)
    if let end = times.end { rows.appendField(time: end) } else { rows.appendNullField() }
    facts.durationMs = try duration(times, &repairs)
    rows.appendField(integer: facts.durationMs)
    try appendMeasures(to: &rows, &facts, &repairs)
    try appendOutcome(to: &rows, &facts, &repairs)
    appendJSON(.searches, to: &rows, &repairs)
    appendJSON(.logs, to: &rows, &repairs)
    appendJSON(.modelConfig, to: &rows, &repairs)
    return facts
  }

  private mutating func eventID(
    _ record: RecordCoordinates, _ repairs: inout RowRepairs
  ) throws(Rejection) -> EventID {
    let field = field(.id)
    guard let text = try field.text(), !text.isBlank else {
      repairs.missingID = true
      return nameIDs.id(at: record)
    }
    repairs.note(field)
    return EventID(parsing: text) ?? nameIDs.id(named: text)
  }

  /// session_id, conversation_id, domain, model
  private func appendNames(
    to rows: inout ByteArena, _ facts: inout EventFacts, _ repairs: inout RowRepairs
  ) throws(Rejection) {
    let session = field(.sessionID)
    guard let sessionText = try session.text() else { throw .missing(session.name) }
    let trimmedSession = sessionText.trimmed
    if trimmedSession.isEmpty { throw .blank(session.name, session.json) }
    try check(trimmedSession, of: session, limit: LengthLimit.sessionID)
    rows.appendField(text: sessionText)
    repairs.note(session)

    try appendText(.conversationID, to: &rows, &repairs, limit: LengthLimit.conversationID)

    let domain = field(.domain)
    if let trimmed = try domain.text()?.trimmed, !trimmed.isEmpty {
      try check(trimmed, of: domain, limit: LengthLimit.domain)
      rows.appendField(text: trimmed)
      facts.domain = ByteRange(offset: rows.count - trimmed.count, count: trimmed.count)
      repairs.note(domain)
    } else {
      rows.appendNullField()
    }

    let model = field(.model)
    guard let modelText = try model.text() else { throw .missing(model.name) }
    let trimmedModel = modelText.trimmed
    try check(trimmedModel, of: model, limit: LengthLimit.model)
    rows.appendField(text: modelText)
    if !trimmedModel.isEmpty {
      try check(modelText, of: model, limit: LengthLimit.modelAsGiven)
      facts.model = ByteRange(offset: rows.count - modelText.count, count: modelText.count)
    }
    repairs.note(model)
  }

  private func duration(_ times: EventTimes, _ repairs: inout RowRepairs) throws(Rejection) -> Int64? {
    let field = field(.durationMs)
    if let given = try field.milliseconds() { return given }
    guard let elapsed = times.elapsedMicros else { return nil }
    if elapsed < 0 {
      repairs.negativeDuration = true
      return nil
    }
    let (milliseconds, rest) = elapsed.quotientAndRemainder(dividingBy: 1000)
    let rounded = milliseconds + (rest >= 500 ? 1 : 0)
    guard EventInteger.range.contains(rounded) else {
      throw .outOfRange(
        "\(field.name) (end_time - start_time)", allowed: EventInteger.allowed, self.field(.endTime).json)
    }
    return rounded
  }

  /// iterations to cost_usd
  private func appendMeasures(
    to rows: inout ByteArena, _ facts: inout EventFacts, _ repairs: inout RowRepairs
  ) throws(Rejection) {
    facts.iterations = try field(.iterations).integer() ?? 0
    rows.appendField(integer: facts.iterations)
    rows.appendField(integer: try field(.maxIterations).integer())

    let searches = try SearchSummary(field(.searches), of: parser)
    facts.searches = try field(.searchCount).integer() ?? searches?.count ?? 0
    rows.appendField(integer: facts.searches)
    var totalResults = try field(.totalResults).integer()
    if totalResults == nil { totalResults = try searches?.totalResults(&repairs) }
    rows.appendField(integer: totalResults ?? 0)

    rows.appendField(integer: try field(.finalResponseLength).integer())
    let inputTokens = try field(.inputTokens).integer()
    rows.appendField(integer: inputTokens)
    facts.inputTokens = inputTokens ?? 0
    let outputTokens = try field(.outputTokens).integer()
    rows.appendField(integer: outputTokens)
    facts.outputTokens = outputTokens ?? 0

    facts.costMicros = try field(.costUSD).microDollars()
    if let cost = facts.costMicros { rows.appendField(microDollars: cost) } else { rows.appendNullField() }
  }

  /// success, error, user_agent, ip_address
  private func appendOutcome(
    to rows: inout ByteArena, _ facts: inout EventFacts, _ repairs: inout RowRepairs
  ) throws(Rejection) {
    facts.success = try field(.success).boolean() ?? field(.error).isAbsent
    rows.appendField(boolean: facts.success)
    try appendText(.error, to: &rows, &repairs)
    try appendText(.userAgent, to: &rows, &repairs)
    try appendText(.ipAddress, to: &rows, &repairs)
  }

  private func appendText(
    _ column: RawColumn, to rows: inout ByteArena, _ repairs: inout RowRepairs, limit: Int = .max
  ) throws(Rejection) {
    let field = field(column)
    guard let text = try field.text() else { return rows.appendNullField() }
    if limit < text.count { try check(text.trimmed, of: field, limit: limit) }
    if isDropped(column) { return rows.appendNullField() }
    rows.appendField(text: text)
    repairs.note(field)
  }

  private func appendJSON(_ column: RawColumn, to rows: inout ByteArena, _ repairs: inout RowRepairs) {
    let field = field(column)
    if field.isAbsent || isDropped(column) { return rows.appendNullField() }
    rows.appendField(json: field.json)
    repairs.note(field)
  }

  private func isDropped(_ column: RawColumn) -> Bool { droppedColumns >> UInt32(column.rawValue) & 1 != 0 }

  private func check(_ text: UTF8Text, of field: EventField, limit: Int) throws(Rejection) {
    if text.isLonger(than: limit) { throw .tooLong(field.name, text.scalarCount, limit: limit, field.json) }
  }
}
