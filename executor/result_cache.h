#pragma once
// ResultCache: tokens of requests that were answered before, found again by all that decides them.
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "modelcards/units.h"

namespace vramplan {

class ResultCache {
 public:
  /// Keeps at most `most` bytes: keys, tokens and kEntryBytes an entry; the least recently used go
  /// first.
  explicit ResultCache(Bytes most) : most_(most) {}
  ResultCache(ResultCache&&) = default;
  ResultCache& operator=(ResultCache&&) = default;
  static constexpr std::int64_t kEntryBytes = 128;  // nodes of the list and of the table, about

  /// Null when nobody asked for it before. Valid until the next call.
  const std::vector<std::int32_t>* find(const std::string& key);
  /// An entry larger than the bound is not kept.
  void insert(const std::string& key, std::vector<std::int32_t> tokens);

  std::int64_t entries() const { return static_cast<std::int64_t>(order_.size()); }
  Bytes bytes() const { return bytes_; }
  Bytes most() const { return most_; }

  /// Text that `read` takes back, least recently used first, with a sum over it.
  std::string write() const;
  /// Errors: kFile naming the line that is no entry, or a sum that does not hold. Entries beyond
  /// the bound are dropped.
  static ResultCache read(const std::string& text, const std::string& file_name, Bytes most);

 private:
  struct Entry {
    std::string key;
    std::vector<std::int32_t> tokens;
  };
  static Bytes bytes_of(const Entry& entry);
  void drop_oldest();

  Bytes most_, bytes_;
  std::list<Entry> order_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> table_;  // keys are the entries'
};

}  // namespace vramplan
