#include "json_text.hpp"

#include <cstring>
#include <vector>

namespace json_text {

namespace {

bool is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end) {
  while (at < end && is_digit(*at)) { at++; }
  return at;
}

int hex_digit(uint8_t byte) {
  if (is_digit(byte)) { return byte - '0'; }
  const uint8_t lower = byte | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// The code unit of the \uXXXX at `at`, or -1.
int32_t code_unit(const uint8_t *at, const uint8_t *end) {
  if (end - at < 6 || at[0] != '\\' || at[1] != 'u') { return -1; }
  int32_t unit = 0;
  for (int i = 2; i < 6; i++) {
    const int digit = hex_digit(at[i]);
    if (digit < 0) { return -1; }
    unit = unit << 4 | digit;
  }
  return unit;
}

struct Escape {
  /// 0 if the escape is invalid.
  int length = 0;
  uint32_t scalar = 0;
  bool lone = false;
};

uint8_t single_escape(uint8_t byte) {
  switch (byte) {
    case '"': case '\\': case '/': return byte;
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return 0;
  }
}

/// Reads the escape whose backslash is at `at`; both halves of a surrogate pair are one escape.
Escape read_escape(const uint8_t *at, const uint8_t *end) {
  if (end - at < 2) { return {}; }
  if (at[1] != 'u') {
    const uint8_t character = single_escape(at[1]);
    return {character ? 2 : 0, character, false};
  }
  const int32_t unit = code_unit(at, end);
  if (unit < 0) { return {}; }
  if (unit < 0xD800 || unit > 0xDFFF) { return {6, uint32_t(unit), false}; }
  const int32_t low = unit < 0xDC00 ? code_unit(at + 6, end) : -1;
  if (low < 0xDC00 || low > 0xDFFF) { return {6, 0xFFFD, true}; }
  return {12, 0x10000 + (uint32_t(unit - 0xD800) << 10) + uint32_t(low - 0xDC00), false};
}

const uint8_t *find_backslash(const uint8_t *at, const uint8_t *end) {
  const void *found = at < end ? memchr(at, '\\', size_t(end - at)) : nullptr;
  return found ? static_cast<const uint8_t *>(found) : end;
}

uint8_t *write_utf8(uint32_t scalar, uint8_t *out) {
  if (scalar < 0x80) {
    *out++ = uint8_t(scalar);
  } else if (scalar < 0x800) {
    *out++ = uint8_t(0xC0 | scalar >> 6);
    *out++ = uint8_t(0x80 | (scalar & 0x3F));
  } else if (scalar < 0x10000) {
    *out++ = uint8_t(0xE0 | scalar >> 12);
    *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
    *out++ = uint8_t(0x80 | (scalar & 0x3F));
  } else {
    *out++ = uint8_t(0xF0 | scalar >> 18);
    *out++ = uint8_t(0x80 | (scalar >> 12 & 0x3F));
    *out++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
    *out++ = uint8_t(0x80 | (scalar & 0x3F));
  }
  return out;
}

}  // namespace

const uint8_t *end_of_number(const uint8_t *at, const uint8_t *end) {
  if (at < end && *at == '-') { at++; }
  if (at == end || !is_digit(*at)) { return nullptr; }
  at = *at == '0' ? at + 1 : skip_digits(at, end);
  if (at < end && *at == '.') {
    const uint8_t *fraction = at + 1;
    at = skip_digits(fraction, end);
    if (at == fraction) { return nullptr; }
  }
  if (at < end && (*at | 0x20) == 'e') {
    at++;
    if (at < end && (*at == '+' || *at == '-')) { at++; }
    const uint8_t *exponent = at;
    at = skip_digits(exponent, end);
    if (at == exponent) { return nullptr; }
  }
  return at;
}

size_t unescape(const uint8_t *at, const uint8_t *end, uint8_t *out, Repairs &repairs) {
  const uint8_t *const start = out;
  while (true) {
    const uint8_t *backslash = find_backslash(at, end);
    memcpy(out, at, size_t(backslash - at));
    out += backslash - at;
    if (backslash == end) { return size_t(out - start); }
    Escape escape = read_escape(backslash, end);
    if (escape.length == 0) { return SIZE_MAX; }
    if (escape.scalar == 0) {
      repairs.nuls++;
      escape.scalar = 0xFFFD;
    }
    repairs.surrogates += escape.lone;
    out = write_utf8(escape.scalar, out);
    at = backslash + escape.length;
  }
}

bool mend_escapes(uint8_t *at, uint8_t *end, Repairs &repairs) {
  while (true) {
    const uint8_t *backslash = find_backslash(at, end);
    if (backslash == end) { return true; }
    uint8_t *place = at + (backslash - at);
    const Escape escape = read_escape(place, end);
    if (escape.length == 0) { return false; }
    if (escape.lone || escape.scalar == 0) {
      (escape.lone ? repairs.surrogates : repairs.nuls)++;
      memcpy(place, "\\ufffd", 6);
    }
    at = place + escape.length;
  }
}

namespace {

/// A validator that keeps one byte for each open array or object instead of recursing.
class Judge {
 public:
  Judge(const uint8_t *bytes, size_t count) : start(bytes), at(bytes), end(bytes + count) {}

  Verdict run() {
    Verdict verdict;
    skip_space();
    verdict.is_object = at < end && *at == '{';
    verdict.valid = document();
    verdict.depth = deepest;
    verdict.offset = size_t(at - start);
    return verdict;
  }

 private:
  const uint8_t *const start;
  const uint8_t *at;
  const uint8_t *const end;
  std::vector<uint8_t> open;
  size_t deepest = 0;

  void skip_space() {
    while (at < end && is_space(*at)) { at++; }
  }

  bool take(uint8_t byte) {
    if (at == end || *at != byte) { return false; }
    at++;
    return true;
  }

  bool take_literal(const char *literal) {
    for (; *literal; literal++) {
      if (!take(uint8_t(*literal))) { return false; }
    }
    return true;
  }

  bool document() {
    if (!value_start()) { return false; }
    while (!open.empty()) {
      if (!after_value()) { return false; }
    }
    skip_space();
    return at == end;
  }

  /// A whole scalar, a whole empty container, or a container's start up to its first value's end.
  bool value_start() {
    while (true) {
      skip_space();
      if (at == end) { return false; }
      if (*at != '[' && *at != '{') { return scalar(); }
      const uint8_t closing = *at++ == '[' ? ']' : '}';
      open.push_back(closing);
      deepest = open.size() > deepest ? open.size() : deepest;
      skip_space();
      if (take(closing)) {
        open.pop_back();
        return true;
      }
      if (closing == '}' && !key()) { return false; }
    }
  }

  /// What follows a value inside a container: its end, or a comma and the next value.
  bool after_value() {
    skip_space();
    const uint8_t closing = open.back();
    if (take(closing)) {
      open.pop_back();
      return true;
    }
    if (!take(',')) { return false; }
    skip_space();
    if (closing == '}' && !key()) { return false; }
    return value_start();
  }

  bool key() {
    if (!string()) { return false; }
    skip_space();
    return take(':');
  }

  bool scalar() {
    switch (*at) {
      case '"': return string();
      case 't': return take_literal("true");
      case 'f': return take_literal("false");
      case 'n': return take_literal("null");
      default: return number();
    }
  }

  bool number() {
    const uint8_t *stop = end_of_number(at, end);
    if (!stop) { return false; }
    at = stop;
    return true;
  }

  bool string() {
    if (!take('"')) { return false; }
    while (at < end && *at != '"') {
      if (*at < 0x20) { return false; }
      if (*at == '\\') {
        const int length = read_escape(at, end).length;
        if (length == 0) { return false; }
        at += length;
      } else {
        at++;
      }
    }
    return take('"');
  }
};

}  // namespace

Verdict judge(const uint8_t *bytes, size_t count) { return Judge(bytes, count).run(); }

}  // namespace json_text
