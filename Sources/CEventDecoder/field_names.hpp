#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "CEventDecoder.h"

// The known fields' names, and a perfect hash over them: one comparison decides whether a key is known.
namespace field_names {

/// In the order of event_field_id.
inline constexpr std::array<std::string_view, EVENT_FIELD_COUNT> names = {
  "created_at",     "id",             "session_id",    "conversation_id", "domain",
  "model",          "start_time",     "end_time",      "duration_ms",     "iterations",
  "max_iterations", "search_count",   "total_results", "final_response_length",
  "input_tokens",   "output_tokens",  "cost_usd",      "success",         "error",
  "user_agent",     "ip_address",     "searches",      "logs",            "model_config",
};

inline constexpr size_t bucket_count = 64;

/// The factors were searched for: they send no two names to one bucket.
constexpr size_t bucket(std::string_view name) {
  const auto first = uint8_t(name.front());
  const auto middle = uint8_t(name[name.size() / 2]);
  const auto last = uint8_t(name.back());
  return (name.size() + 5 * first + middle + 13 * last) % bucket_count;
}

struct Table {
  std::array<int8_t, bucket_count> ids{};
  bool perfect = true;

  constexpr Table() {
    for (auto &id : ids) { id = -1; }
    for (size_t id = 0; id < names.size(); id++) {
      const size_t at = bucket(names[id]);
      perfect = perfect && ids[at] < 0;
      ids[at] = int8_t(id);
    }
  }
};

inline constexpr Table table{};
static_assert(table.perfect, "two field names share a bucket: search for other factors");

inline uint64_t eight_bytes(const char *at) {
  uint64_t bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}

/// In line: the call of memcmp took longer than the comparison.
inline bool equal(std::string_view left, std::string_view right) {
  const size_t count = left.size();
  if (count != right.size()) { return false; }
  if (count < 8) {
    for (size_t at = 0; at < count; at++) {
      if (left[at] != right[at]) { return false; }
    }
    return true;
  }
  for (size_t at = 0; at + 8 < count; at += 8) {
    if (eight_bytes(&left[at]) != eight_bytes(&right[at])) { return false; }
  }
  return eight_bytes(&left[count - 8]) == eight_bytes(&right[count - 8]);
}

/// The known field of that name, or -1.
inline int find(std::string_view name) {
  if (name.empty()) { return -1; }
  const int id = table.ids[bucket(name)];
  return id >= 0 && equal(names[id], name) ? id : -1;
}

}  // namespace field_names
