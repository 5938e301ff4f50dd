#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "modelcards/json.h"

namespace vramplan {
namespace {

enum class Kind : std::uint8_t {
  kNull,
  kBoolean,
  kInteger,
  kTooLarge,
  kReal,
  kString,
  kArray,
  kObject
};

/// 32 bytes a node: a tree of links, so that a hostile text costs a bounded multiple of its size.
struct Node {
  Kind kind = Kind::kNull;
  std::uint32_t key = 0;    // 1 + index into the strings; 0 = no key
  std::uint32_t first = 0;  // child
  std::uint32_t next = 0;   // sibling
  std::uint32_t count = 0;  // children
  union {
    std::int64_t integer = 0;  // also: boolean, index of a string
    double real;
  };
};

struct Tree {
  std::vector<Node> nodes;
  std::vector<std::string> strings;
};

/// Builds the tree from the events of the parser; refuses before anything deep or wide exists.
class TreeBuilder {
 public:
  TreeBuilder(Tree& tree, const std::string& file_name) : tree_(tree), file_name_(file_name) {}

  bool null() { return add(Kind::kNull), true; }
  bool boolean(bool value) { return add(Kind::kBoolean).integer = value ? 1 : 0, true; }
  bool number_integer(std::int64_t value) { return add(Kind::kInteger).integer = value, true; }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    Node& node = add(fits ? Kind::kInteger : Kind::kTooLarge);
    if (fits) {
      node.integer = static_cast<std::int64_t>(value);
    } else {
      node.real = static_cast<double>(value);
    }
    return true;
  }
  bool number_float(double value, const std::string& written) {
    if (!std::isfinite(value)) fail("the number " + written + " is out of range");
    // The library hands integers beyond 64 bits over as floats: they stay integers, and too large.
    const bool integer = written.find_first_of(".eE") == std::string::npos;
    return add(integer ? Kind::kTooLarge : Kind::kReal).real = value, true;
  }
  bool string(std::string& value) {
    add(Kind::kString).integer = static_cast<std::int64_t>(tree_.strings.size());
    tree_.strings.push_back(std::move(value));
    return true;
  }
  bool binary(std::vector<std::uint8_t>&) { return false; }  // no such thing in text
  bool start_object(std::size_t) { return open(Kind::kObject); }
  bool start_array(std::size_t) { return open(Kind::kArray); }
  bool key(std::string& value) {
    tree_.strings.push_back(std::move(value));
    pending_key_ = static_cast<std::uint32_t>(tree_.strings.size());
    return true;
  }
  bool end_object() {
    refuse_duplicates(open_.back().node);
    return open_.pop_back(), true;
  }
  bool end_array() { return open_.pop_back(), true; }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error) {
    const std::string text = error.what();  // "[json.exception....] parse error at ...: why"
    const auto why = text.find(": ", text.find("parse error"));
    throw Error(ErrorCode::kBadJson,
                "not JSON: " + (why == std::string::npos ? text : text.substr(why + 2)))
        .at(file_name_, "byte " + std::to_string(byte));
  }

 private:
  struct Open {
    std::uint32_t node, last;  // last child, 0 = none
  };

  [[noreturn]] void fail(const std::string& message) const {
    throw Error(ErrorCode::kBadJson, message).at(file_name_);
  }

  Node& add(Kind kind) {
    if (tree_.nodes.size() >= JsonNode::kMaxNodes) fail("more than 1000000 values");
    const auto index = static_cast<std::uint32_t>(tree_.nodes.size());
    Node node;
    node.kind = kind;
    node.key = std::exchange(pending_key_, 0U);
    tree_.nodes.push_back(node);
    if (!open_.empty()) {
      Open& parent = open_.back();
      (parent.last == 0 ? tree_.nodes[parent.node].first : tree_.nodes[parent.last].next) = index;
      parent.last = index;
      ++tree_.nodes[parent.node].count;
    }
    return tree_.nodes.back();
  }

  bool open(Kind kind) {
    if (open_.size() >= JsonNode::kMaxDepth) fail("nested deeper than 64");
    add(kind);
    open_.push_back({static_cast<std::uint32_t>(tree_.nodes.size() - 1), 0});
    return true;
  }

  void refuse_duplicates(std::uint32_t object) const {
    std::vector<std::string_view> keys;
    keys.reserve(tree_.nodes[object].count);
    for (std::uint32_t i = tree_.nodes[object].first; i != 0; i = tree_.nodes[i].next) {
      keys.emplace_back(tree_.strings[tree_.nodes[i].key - 1]);
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) fail("the key " + std::string(*twice) + " occurs twice in one object");
  }

  Tree& tree_;
  const std::string& file_name_;
  std::vector<Open> open_;
  std::uint32_t pending_key_ = 0;
};

std::string member_path(const std::string& path, const std::string& key) {
  return path.empty() ? key : path + "." + key;
}

std::string element_path(const std::string& path, std::size_t index) {
  std::string out = path;
  out += '[';
  out += std::to_string(index);
  out += ']';
  return out;
}

}  // namespace

struct JsonNode::Document : Tree {
  std::string file_name;
  const Node& node(std::uint32_t index) const { return nodes[index]; }
};

JsonNode JsonNode::parse(const std::string& text, const std::string& file_name) {
  // The library takes a zero byte for the end of the text and would ignore all that follows.
  const auto zero = text.find('\0');
  if (zero != std::string::npos) {
    throw Error(ErrorCode::kBadJson, "not JSON: a zero byte")
        .at(file_name, "byte " + std::to_string(zero));
  }
  auto document = std::make_shared<Document>();
  document->file_name = file_name;
  TreeBuilder builder(*document, document->file_name);
  if (!nlohmann::json::sax_parse(text, &builder) || document->nodes.empty()) {
    throw Error(ErrorCode::kBadJson, "not JSON").at(file_name);
  }
  return {std::move(document), 0, ""};
}

JsonNode::JsonNode(std::shared_ptr<const Document> document, std::uint32_t index, std::string path)
    : document_(std::move(document)), index_(index), path_(std::move(path)) {}

const std::string& JsonNode::file_name() const { return document_->file_name; }

bool JsonNode::is_object() const { return document_->node(index_).kind == Kind::kObject; }
bool JsonNode::is_array() const { return document_->node(index_).kind == Kind::kArray; }
bool JsonNode::is_string() const { return document_->node(index_).kind == Kind::kString; }
bool JsonNode::is_boolean() const { return document_->node(index_).kind == Kind::kBoolean; }
bool JsonNode::is_null() const { return document_->node(index_).kind == Kind::kNull; }
bool JsonNode::is_number() const {
  const Kind kind = document_->node(index_).kind;
  return kind == Kind::kInteger || kind == Kind::kTooLarge || kind == Kind::kReal;
}

void JsonNode::fail(ErrorCode code, const std::string& message, const std::string& help) const {
  Error error(code, message);
  error.at(file_name(), path_.empty() ? "the whole document" : path_);
  if (!help.empty()) error.help(help);
  throw error;
}

std::uint32_t JsonNode::find(const std::string& key) const {
  const Node& self = document_->node(index_);
  if (self.kind != Kind::kObject) fail(ErrorCode::kBadJson, "is not an object");
  for (std::uint32_t i = self.first; i != 0; i = document_->node(i).next) {
    if (document_->strings[document_->node(i).key - 1] == key) return i;
  }
  return 0;
}

bool JsonNode::has(const std::string& key) const {
  const std::uint32_t found = find(key);
  return found != 0 && document_->node(found).kind != Kind::kNull;
}

bool JsonNode::contains(const std::string& key) const { return find(key) != 0; }

JsonNode JsonNode::at(const std::string& key) const {
  const std::uint32_t found = find(key);
  const std::string path = member_path(path_, key);
  if (found == 0) {
    throw Error(ErrorCode::kBadConfig, "the field is missing").at(file_name(), path);
  }
  return {document_, found, path};
}

JsonNode JsonNode::at(std::size_t index) const {
  if (!is_array()) fail(ErrorCode::kBadJson, "is not an array");
  std::uint32_t i = document_->node(index_).first;
  for (std::size_t n = 0; n < index && i != 0; ++n) i = document_->node(i).next;
  if (i == 0) fail(ErrorCode::kBadJson, "has no element " + std::to_string(index));
  return {document_, i, element_path(path_, index)};
}

std::size_t JsonNode::size() const { return document_->node(index_).count; }

std::vector<std::string> JsonNode::keys() const {
  std::vector<std::string> out;
  if (!is_object()) fail(ErrorCode::kBadJson, "is not an object");
  for (std::uint32_t i = document_->node(index_).first; i != 0; i = document_->node(i).next) {
    out.push_back(document_->strings[document_->node(i).key - 1]);
  }
  return out;
}

std::vector<JsonNode> JsonNode::items() const {
  if (!is_object() && !is_array()) fail(ErrorCode::kBadJson, "is neither an object nor an array");
  std::vector<JsonNode> out;
  for (std::uint32_t i = document_->node(index_).first; i != 0; i = document_->node(i).next) {
    const Node& child = document_->node(i);
    std::string path = child.key == 0 ? element_path(path_, out.size())
                                      : member_path(path_, document_->strings[child.key - 1]);
    out.push_back(JsonNode(document_, i, std::move(path)));
  }
  return out;
}

const std::string& JsonNode::text() const {
  if (!is_string()) fail(ErrorCode::kBadJson, "is not a string");
  return document_->strings[static_cast<std::size_t>(document_->node(index_).integer)];
}

std::int64_t JsonNode::integer(std::int64_t low, std::int64_t high) const {
  const Node& self = document_->node(index_);
  const std::string range = std::to_string(low) + " and " + std::to_string(high);
  if (self.kind == Kind::kTooLarge) fail(ErrorCode::kBadJson, "is not between " + range);
  if (self.kind != Kind::kInteger) fail(ErrorCode::kBadJson, "is not a whole number");
  if (self.integer < low || self.integer > high) {
    fail(ErrorCode::kBadJson, std::to_string(self.integer) + " is not between " + range);
  }
  return self.integer;
}

double JsonNode::real(double low, double high) const {
  const Node& self = document_->node(index_);
  if (!is_number()) fail(ErrorCode::kBadJson, "is not a number");
  const double value = self.kind == Kind::kInteger ? static_cast<double>(self.integer) : self.real;
  if (!(value >= low && value <= high)) {
    fail(ErrorCode::kBadJson, std::to_string(value) + " is not between " + std::to_string(low) +
                                  " and " + std::to_string(high));
  }
  return value;
}

bool JsonNode::boolean() const {
  if (!is_boolean()) fail(ErrorCode::kBadJson, "is neither true nor false");
  return document_->node(index_).integer != 0;
}

std::string JsonNode::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? at(key).text() : fallback;
}
std::int64_t JsonNode::integer_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                                  std::int64_t high) const {
  return has(key) ? at(key).integer(low, high) : fallback;
}
double JsonNode::real_or(const std::string& key, double fallback, double low, double high) const {
  return has(key) ? at(key).real(low, high) : fallback;
}
bool JsonNode::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? at(key).boolean() : fallback;
}

}  // namespace vramplan
