#ifndef C_EVENT_DECODER_H
#define C_EVENT_DECODER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// Reads one telemetry event's JSON with simdjson's on-demand parser and lays its known fields out in slots.
/// It knows JSON and the fields' names; what a field may hold is judged by whoever reads the slots.
/// Not thread-safe: one parser serves one caller at a time. A lack of memory ends the process, as in Swift.
typedef struct event_parser event_parser;

/// The known fields, in the order of the raw table's columns.
typedef enum event_field_id {
  EVENT_CREATED_AT,
  EVENT_ID,
  EVENT_SESSION_ID,
  EVENT_CONVERSATION_ID,
  EVENT_DOMAIN,
  EVENT_MODEL,
  EVENT_START_TIME,
  EVENT_END_TIME,
  EVENT_DURATION_MS,
  EVENT_ITERATIONS,
  EVENT_MAX_ITERATIONS,
  EVENT_SEARCH_COUNT,
  EVENT_TOTAL_RESULTS,
  EVENT_FINAL_RESPONSE_LENGTH,
  EVENT_INPUT_TOKENS,
  EVENT_OUTPUT_TOKENS,
  EVENT_COST_USD,
  EVENT_SUCCESS,
  EVENT_ERROR,
  EVENT_USER_AGENT,
  EVENT_IP_ADDRESS,
  EVENT_SEARCHES,
  EVENT_LOGS,
  EVENT_MODEL_CONFIG,
  EVENT_FIELD_COUNT
} event_field_id;

/// A value's JSON type; absent is 0.
typedef enum event_value_kind {
  EVENT_VALUE_ABSENT = 0,
  EVENT_VALUE_NULL,
  EVENT_VALUE_TRUE,
  EVENT_VALUE_FALSE,
  EVENT_VALUE_NUMBER,
  EVENT_VALUE_STRING,
  EVENT_VALUE_ARRAY,
  EVENT_VALUE_OBJECT
} event_value_kind;

/// One field's value. The pointers lead into the parser's own memory and hold until its next parse.
typedef struct event_field {
  /// The value's JSON text, without white space around it. In `searches`, `logs` and `model_config` the
  /// escapes of U+0000 and of lone surrogates are replaced by \ufffd, for jsonb refuses them.
  const uint8_t *json;
  size_t json_count;
  /// A string's characters in UTF-8, U+FFFD standing for U+0000 and for lone surrogates.
  /// NULL for other kinds, and in the three JSON fields.
  const uint8_t *text;
  size_t text_count;
  event_value_kind kind;
  /// How many characters were replaced.
  uint32_t nul_repairs;
  uint32_t surrogate_repairs;
} event_field;

/// One element of the array `searches`.
typedef struct event_search {
  event_value_kind kind;
  /// Its `resultCount`: EVENT_VALUE_ABSENT if it has none.
  event_value_kind result_count_kind;
  const uint8_t *result_count;
  size_t result_count_count;
} event_search;

/// Deeper nesting is EVENT_TOO_DEEP; the outermost object is level 1.
enum { EVENT_MAX_DEPTH = 64 };

typedef enum event_status {
  EVENT_PARSED = 0,
  EVENT_INVALID_UTF8,
  EVENT_INVALID_JSON,
  EVENT_NOT_AN_OBJECT,
  EVENT_TOO_DEEP
} event_status;

/// NULL when libcrypto offers no SHA-1.
event_parser *event_parser_create(void);
void event_parser_destroy(event_parser *parser);

/// Validates the whole of `bytes` (RFC 8259) and fills the slots. `bytes` is copied and need not outlive the
/// call; `count` is at most 2^31-1, as in Kafka.
event_status event_parser_parse(event_parser *parser, const void *bytes, size_t count);

/// EVENT_FIELD_COUNT slots in the order of event_field_id, meaningful after EVENT_PARSED. The array
/// stays where it is as long as the parser lives.
const event_field *event_parser_fields(const event_parser *parser);

/// The elements of `searches`, none when it is no array. Holds until the next parse.
const event_search *event_parser_searches(const event_parser *parser, size_t *count);

/// Where EVENT_INVALID_JSON was found: an offset into the value, its length if it ended too soon.
size_t event_parser_error_offset(const event_parser *parser);

/// Writes the version 5 UUID (RFC 9562, section 5.5) of `name` in `name_space` to `uuid`; 16 bytes each.
/// 0 when libcrypto cannot compute SHA-1.
int event_parser_name_uuid(
  event_parser *parser, const void *name_space, const void *name, size_t count, void *uuid);

#ifdef __cplusplus
}
#endif

#endif
