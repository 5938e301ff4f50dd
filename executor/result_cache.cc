#include "executor/result_cache.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "modelcards/error.h"

namespace vramplan {
namespace {

constexpr const char* kHead = "vramplan.results/1 ";

/// FNV-1a of 64 bits: a file that was cut or edited shows, no more is asked of it.
std::uint64_t sum_of(std::string_view text) {
  std::uint64_t sum = 0xcbf29ce484222325ULL;
  for (const char c : text) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return sum;
}

/// Keys may hold any byte; a line may not.
std::string hex_of(const std::string& bytes) {
  static constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

bool bytes_of_hex(std::string_view hex, std::string& out) {
  if (hex.empty() || hex.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    unsigned value = 0;
    const auto [end, status] = std::from_chars(hex.data() + i, hex.data() + i + 2, value, 16);
    if (status != std::errc() || end != hex.data() + i + 2) return false;
    out += static_cast<char>(value);
  }
  return true;
}

bool tokens_of(std::string_view text, std::vector<std::int32_t>& out) {
  const char* at = text.data();
  const char* const last = text.data() + text.size();
  while (at != last) {
    if (*at++ != ' ') return false;
    std::int32_t token = 0;
    const auto [end, status] = std::from_chars(at, last, token);
    if (status != std::errc() || token < 0) return false;
    out.push_back(token);
    at = end;
  }
  return true;
}

}  // namespace

Bytes ResultCache::bytes_of(const Entry& entry) {
  return Bytes{kEntryBytes + static_cast<std::int64_t>(entry.key.size()) +
               static_cast<std::int64_t>(entry.tokens.size() * sizeof(std::int32_t))};
}

const std::vector<std::int32_t>* ResultCache::find(const std::string& key) {
  const auto found = table_.find(key);
  if (found == table_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second);
  return &order_.front().tokens;
}

void ResultCache::insert(const std::string& key, std::vector<std::int32_t> tokens) {
  if (const auto found = table_.find(key); found != table_.end()) {
    const auto entry = found->second;
    table_.erase(found);
    bytes_ -= bytes_of(*entry);
    order_.erase(entry);
  }
  order_.push_front({key, std::move(tokens)});
  table_[order_.front().key] = order_.begin();
  bytes_ += bytes_of(order_.front());
  while (bytes_ > most_) drop_oldest();
}

void ResultCache::drop_oldest() {
  bytes_ -= bytes_of(order_.back());
  table_.erase(order_.back().key);
  order_.pop_back();
}

std::string ResultCache::write() const {
  std::string body;
  for (auto entry = order_.rbegin(); entry != order_.rend(); ++entry) {
    body += hex_of(entry->key);
    for (const std::int32_t token : entry->tokens) body += " " + std::to_string(token);
    body += "\n";
  }
  return kHead + std::to_string(sum_of(body)) + "\n" + body;
}

ResultCache ResultCache::read(const std::string& text, const std::string& file_name, Bytes most) {
  const auto fail = [&](const std::string& what, std::size_t line) {
    throw Error(ErrorCode::kFile, what)
        .at(file_name, "line " + std::to_string(line))
        .help("remove the file: results are computed again");
  };
  const std::size_t head_end = text.find('\n');
  const std::string_view view(text);
  const std::string_view body =
      head_end == std::string::npos ? std::string_view() : view.substr(head_end + 1);
  if (text.rfind(kHead, 0) != 0 || head_end == std::string::npos ||
      text.substr(0, head_end) != kHead + std::to_string(sum_of(body))) {
    fail("this is no file of results, or not all of it", 1);
  }
  ResultCache cache(most);
  std::size_t line = 2;
  for (std::size_t at = 0; at < body.size(); ++line) {
    const std::size_t end = body.find('\n', at);
    if (end == std::string_view::npos) fail("an entry without an end", line);
    const std::string_view entry = body.substr(at, end - at);
    const std::size_t key_end = std::min(entry.find(' '), entry.size());
    std::string key;
    std::vector<std::int32_t> tokens;
    if (!bytes_of_hex(entry.substr(0, key_end), key) || !tokens_of(entry.substr(key_end), tokens)) {
      fail("this is no entry", line);
    }
    cache.insert(key, std::move(tokens));
    at = end + 1;
  }
  return cache;
}

}  // namespace vramplan
