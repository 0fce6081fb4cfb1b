#pragma once

#include <simdjson.h>

#include <optional>
#include <string_view>
#include <vector>

#include "CEventDecoder.h"
#include "json_text.hpp"

/// The state behind the C interface: the memory that is kept from one event to the next, and the walk.
class EventParser {
 public:
  event_field fields[EVENT_FIELD_COUNT] = {};
  std::vector<event_search> searches;
  size_t error_offset = 0;

  event_status parse(const uint8_t *bytes, size_t count);

 private:
  using Value = simdjson::ondemand::value;
  using Repairs = json_text::Repairs;
  enum class Outcome { walked, refused };
  /// A stretch of the document.
  struct Span {
    uint8_t *begin = nullptr;
    uint8_t *end = nullptr;

    size_t count() const { return size_t(end - begin); }
    std::string_view view() const { return {reinterpret_cast<const char *>(begin), count()}; }
  };

  simdjson::ondemand::parser json;
  /// The value and simdjson's padding.
  std::vector<uint8_t> document;
  /// The characters of strings that had escapes.
  std::vector<uint8_t> unescaped;
  size_t unescaped_count = 0;
  /// Whether there is a backslash anywhere: most events have none, and then no string is searched for one.
  bool has_escapes = false;

  void load(const uint8_t *bytes, size_t count);
  event_status refusal(const uint8_t *bytes, size_t count);

  Outcome walk_document(size_t count);
  /// By reference: a copy reads in wide pieces what was just written in narrow ones, and waits for that.
  Outcome walk_field(simdjson::ondemand::field &field);
  Outcome walk_text(Value &value, event_field &field);
  Outcome walk_searches(Value &value, Repairs &repairs);
  Outcome walk_search(Value &value, Repairs &repairs);
  Outcome walk_value(Value &value, int depth, Repairs &repairs);
  Outcome walk_array(Value &value, int depth, Repairs &repairs);
  Outcome walk_object(Value &value, int depth, Repairs &repairs);
  Outcome check_scalar(Span token, Repairs &repairs);

  Span token(Value &value);
  Span whole(Value &value, Span token);
  Span key(simdjson::ondemand::field &field);
  std::optional<std::string_view> characters(Span inside, Repairs &repairs);
  bool mend(Span inside, Repairs &repairs);
};
