#pragma once

#include <cstddef>
#include <cstdint>

// Rules of RFC 8259's text that simdjson's on-demand parser leaves to whoever reads a value: it checks a
// string's escapes, a number or a literal only when asked for it, and then with limits of its own.
namespace json_text {

struct Repairs {
  uint32_t nuls = 0;
  uint32_t surrogates = 0;
};

inline bool is_space(uint8_t byte) {
  return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/// Where the number that starts at `at` ends, or null if there is none.
const uint8_t *end_of_number(const uint8_t *at, const uint8_t *end);

/// Whether the whole of `at ..< end` is one number.
inline bool is_number(const uint8_t *at, const uint8_t *end) { return end_of_number(at, end) == end; }

/// Writes the characters of a string's inside to `out`, which has room for as many bytes. The count
/// written, or SIZE_MAX if an escape is invalid.
size_t unescape(const uint8_t *at, const uint8_t *end, uint8_t *out, Repairs &repairs);

/// Checks the escapes of a string's inside, and puts \ufffd in the place of what jsonb cannot hold.
bool mend_escapes(uint8_t *at, uint8_t *end, Repairs &repairs);

struct Verdict {
  bool valid = false;
  bool is_object = false;
  /// The deepest nesting of arrays and objects.
  size_t depth = 0;
  /// Where it stopped being JSON.
  size_t offset = 0;
};

/// Judges a whole text that is valid UTF-8, whatever its depth, without recursion. Slow: it is asked only
/// about a text the fast way refused, to say which of the refusals it is and where.
Verdict judge(const uint8_t *bytes, size_t count);

}  // namespace json_text
