#include "event_parser.hpp"

#include <cstdlib>
#include <cstring>

#include "field_names.hpp"

using simdjson::ondemand::array;
using simdjson::ondemand::field;
using simdjson::ondemand::object;

namespace {

bool is_json_field(int id) { return id == EVENT_SEARCHES || id == EVENT_LOGS || id == EVENT_MODEL_CONFIG; }

/// The kind that a value's first byte announces; what is none of the others must be a number.
event_value_kind announced_kind(uint8_t first) {
  switch (first) {
    case '{': return EVENT_VALUE_OBJECT;
    case '[': return EVENT_VALUE_ARRAY;
    case '"': return EVENT_VALUE_STRING;
    case 't': return EVENT_VALUE_TRUE;
    case 'f': return EVENT_VALUE_FALSE;
    case 'n': return EVENT_VALUE_NULL;
    default: return EVENT_VALUE_NUMBER;
  }
}

}  // namespace

event_status EventParser::parse(const uint8_t *bytes, size_t count) {
  load(bytes, count);
  return walk_document(count) == Outcome::walked ? EVENT_PARSED : refusal(bytes, count);
}

void EventParser::load(const uint8_t *bytes, size_t count) {
  if (count + simdjson::SIMDJSON_PADDING > document.size()) {
    size_t capacity = 4096;
    while (capacity < count) { capacity *= 2; }
    document.resize(capacity + simdjson::SIMDJSON_PADDING);
    unescaped.resize(capacity);
    if (json.allocate(capacity)) { abort(); }
  }
  if (count > 0) { memcpy(document.data(), bytes, count); }
  // On-demand may look one token beyond the end: it must find nothing that closes a container.
  memset(document.data() + count, 0, simdjson::SIMDJSON_PADDING);
  has_escapes = count > 0 && memchr(bytes, '\\', count);
  unescaped_count = 0;
  searches.clear();
  memset(fields, 0, sizeof fields);
}

event_status EventParser::refusal(const uint8_t *bytes, size_t count) {
  if (!simdjson::validate_utf8(reinterpret_cast<const char *>(bytes), count)) { return EVENT_INVALID_UTF8; }
  const json_text::Verdict verdict = json_text::judge(bytes, count);
  error_offset = verdict.offset;
  if (!verdict.valid) { return EVENT_INVALID_JSON; }
  if (!verdict.is_object) { return EVENT_NOT_AN_OBJECT; }
  return verdict.depth > EVENT_MAX_DEPTH ? EVENT_TOO_DEEP : EVENT_INVALID_JSON;
}

// On-demand does not look at what it is not asked for, and steps over it by counting brackets. So nothing is
// left for it to step over but one scalar: every container is iterated, every string advanced over, and every
// scalar's text checked here.

EventParser::Outcome EventParser::walk_document(size_t count) {
  // A later simdjson steps over a byte order mark, which is no part of a JSON text.
  if (count == 0 || document[0] == 0xEF) { return Outcome::refused; }
  simdjson::ondemand::document root;
  if (json.iterate(document.data(), count, document.size()).get(root)) { return Outcome::refused; }
  object fields_of_root;
  if (root.get_object().get(fields_of_root)) { return Outcome::refused; }
  for (auto result : fields_of_root) {
    field next;
    if (std::move(result).get(next)) { return Outcome::refused; }
    if (walk_field(next) == Outcome::refused) { return Outcome::refused; }
  }
  // Anywhere but at the end, something follows the object.
  const bool at_end = root.current_location().error() == simdjson::OUT_OF_BOUNDS;
  return at_end ? Outcome::walked : Outcome::refused;
}

EventParser::Outcome EventParser::walk_field(field &next) {
  Repairs repairs;
  const auto name = characters(key(next), repairs);
  if (!name) { return Outcome::refused; }
  Value &value = next.value();
  const int id = field_names::find(*name);
  if (id < 0) { return walk_value(value, 1, repairs); }

  repairs = {};
  const Span start = token(value);
  // The last one of a name counts, so a slot is filled anew.
  event_field &slot = fields[id];
  slot = {};
  slot.kind = announced_kind(*start.begin);
  Outcome outcome;
  if (slot.kind == EVENT_VALUE_STRING && !is_json_field(id)) {
    outcome = walk_text(value, slot);
  } else if (id == EVENT_SEARCHES) {
    outcome = walk_searches(value, repairs);
  } else {
    outcome = walk_value(value, 1, repairs);
  }
  if (outcome == Outcome::refused) { return outcome; }
  const Span json_text = whole(value, start);
  slot.json = json_text.begin;
  slot.json_count = json_text.count();
  slot.nul_repairs += repairs.nuls;
  slot.surrogate_repairs += repairs.surrogates;
  return Outcome::walked;
}

EventParser::Outcome EventParser::walk_text(Value &value, event_field &slot) {
  const Span text = token(value);
  if (text.count() < 2 || text.end[-1] != '"') { return Outcome::refused; }
  if (value.get_raw_json_string().error()) { return Outcome::refused; }
  Repairs repairs;
  const auto inside = characters({text.begin + 1, text.end - 1}, repairs);
  if (!inside) { return Outcome::refused; }
  slot.text = reinterpret_cast<const uint8_t *>(inside->data());
  slot.text_count = inside->size();
  slot.nul_repairs = repairs.nuls;
  slot.surrogate_repairs = repairs.surrogates;
  return Outcome::walked;
}

EventParser::Outcome EventParser::walk_searches(Value &value, Repairs &repairs) {
  searches.clear();
  if (*token(value).begin != '[') { return walk_value(value, 1, repairs); }
  array elements;
  if (value.get_array().get(elements)) { return Outcome::refused; }
  for (auto result : elements) {
    Value element;
    if (std::move(result).get(element)) { return Outcome::refused; }
    if (walk_search(element, repairs) == Outcome::refused) { return Outcome::refused; }
  }
  return Outcome::walked;
}

EventParser::Outcome EventParser::walk_search(Value &value, Repairs &repairs) {
  event_search search = {};
  search.kind = announced_kind(*token(value).begin);
  Outcome outcome = Outcome::walked;
  if (search.kind != EVENT_VALUE_OBJECT) {
    outcome = walk_value(value, 2, repairs);
  } else {
    object members;
    if (value.get_object().get(members)) { return Outcome::refused; }
    for (auto result : members) {
      field next;
      if (std::move(result).get(next)) { return Outcome::refused; }
      const Span name = key(next);
      Repairs unused;
      const auto plain = characters(name, unused);
      if (!plain) { return Outcome::refused; }
      mend(name, repairs);
      Value &member = next.value();
      const Span start = token(member);
      if (walk_value(member, 3, repairs) == Outcome::refused) { return Outcome::refused; }
      if (*plain == "resultCount") {
        const Span json_text = whole(member, start);
        search.result_count_kind = announced_kind(*start.begin);
        search.result_count = json_text.begin;
        search.result_count_count = json_text.count();
      }
    }
  }
  searches.push_back(search);
  return outcome;
}

EventParser::Outcome EventParser::walk_value(Value &value, int depth, Repairs &repairs) {
  const Span text = token(value);
  switch (*text.begin) {
    case '{': return depth < EVENT_MAX_DEPTH ? walk_object(value, depth + 1, repairs) : Outcome::refused;
    case '[': return depth < EVENT_MAX_DEPTH ? walk_array(value, depth + 1, repairs) : Outcome::refused;
    case '"':
      if (value.get_raw_json_string().error()) { return Outcome::refused; }
      return check_scalar(text, repairs);
    default: return check_scalar(text, repairs);
  }
}

EventParser::Outcome EventParser::walk_array(Value &value, int depth, Repairs &repairs) {
  array elements;
  if (value.get_array().get(elements)) { return Outcome::refused; }
  for (auto result : elements) {
    Value element;
    if (std::move(result).get(element)) { return Outcome::refused; }
    if (walk_value(element, depth, repairs) == Outcome::refused) { return Outcome::refused; }
  }
  return Outcome::walked;
}

EventParser::Outcome EventParser::walk_object(Value &value, int depth, Repairs &repairs) {
  object members;
  if (value.get_object().get(members)) { return Outcome::refused; }
  for (auto result : members) {
    field next;
    if (std::move(result).get(next)) { return Outcome::refused; }
    const Span name = key(next);
    if (!mend(name, repairs)) { return Outcome::refused; }
    if (walk_value(next.value(), depth, repairs) == Outcome::refused) { return Outcome::refused; }
  }
  return Outcome::walked;
}

EventParser::Outcome EventParser::check_scalar(Span text, Repairs &repairs) {
  bool valid;
  switch (announced_kind(*text.begin)) {
    case EVENT_VALUE_STRING:
      valid = text.count() >= 2 && text.end[-1] == '"' && mend({text.begin + 1, text.end - 1}, repairs);
      break;
    case EVENT_VALUE_TRUE: valid = text.view() == "true"; break;
    case EVENT_VALUE_FALSE: valid = text.view() == "false"; break;
    case EVENT_VALUE_NULL: valid = text.view() == "null"; break;
    default: valid = json_text::is_number(text.begin, text.end); break;
  }
  return valid ? Outcome::walked : Outcome::refused;
}

/// A scalar's text, or the first byte of a container: up to the next token, without the space between.
EventParser::Span EventParser::token(Value &value) {
  const std::string_view text = value.raw_json_token();
  uint8_t *begin = document.data() + (reinterpret_cast<const uint8_t *>(text.data()) - document.data());
  uint8_t *end = begin + text.size();
  while (end > begin && json_text::is_space(end[-1])) { end--; }
  return {begin, end};
}

/// The text of a value that was walked and began with `start`.
EventParser::Span EventParser::whole(Value &value, Span start) {
  if (*start.begin != '{' && *start.begin != '[') { return start; }
  const char *next = nullptr;
  // At the end of the tokens there is no object left that this one could be in, as the walk will find.
  if (value.current_location().get(next)) { return start; }
  uint8_t *end = document.data() + (reinterpret_cast<const uint8_t *>(next) - document.data());
  while (end > start.begin && json_text::is_space(end[-1])) { end--; }
  return {start.begin, end};
}

/// A key's inside. On-demand has found the string's beginning, the colon and the value, so that between the
/// value and the string's end there is but the colon and white space.
EventParser::Span EventParser::key(field &field) {
  const auto *raw = reinterpret_cast<const uint8_t *>(field.key().raw());
  uint8_t *begin = document.data() + (raw - document.data());
  uint8_t *end = token(field.value()).begin;
  while (*end != ':') { end--; }
  while (*end != '"') { end--; }
  return {begin, end};
}

/// A string's characters: in place if it has no escapes. Nothing if an escape is invalid.
std::optional<std::string_view> EventParser::characters(Span inside, Repairs &repairs) {
  if (!has_escapes || !memchr(inside.begin, '\\', inside.count())) { return inside.view(); }
  uint8_t *out = unescaped.data() + unescaped_count;
  const size_t count = json_text::unescape(inside.begin, inside.end, out, repairs);
  if (count == SIZE_MAX) { return std::nullopt; }
  unescaped_count += count;
  return std::string_view{reinterpret_cast<const char *>(out), count};
}

/// Puts \ufffd in the place of what jsonb cannot hold. False if an escape is invalid.
bool EventParser::mend(Span inside, Repairs &repairs) {
  return !has_escapes || json_text::mend_escapes(inside.begin, inside.end, repairs);
}
