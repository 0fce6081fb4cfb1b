#include "CEventDecoder.h"
#include "event_parser.hpp"
#include "name_uuid.hpp"

struct event_parser {
  EventParser json;
  NameUUID names;
};

event_parser *event_parser_create(void) {
  auto *parser = new event_parser;
  if (parser->names.available()) { return parser; }
  delete parser;
  return nullptr;
}

void event_parser_destroy(event_parser *parser) { delete parser; }

event_status event_parser_parse(event_parser *parser, const void *bytes, size_t count) {
  return parser->json.parse(static_cast<const uint8_t *>(bytes), count);
}

const event_field *event_parser_fields(const event_parser *parser) { return parser->json.fields; }

const event_search *event_parser_searches(const event_parser *parser, size_t *count) {
  *count = parser->json.searches.size();
  return parser->json.searches.data();
}

size_t event_parser_error_offset(const event_parser *parser) { return parser->json.error_offset; }

int event_parser_name_uuid(
  event_parser *parser, const void *name_space, const void *name, size_t count, void *uuid) {
  return parser->names.compute(name_space, name, count, uuid);
}
