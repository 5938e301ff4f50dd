#include "modelcards/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <cmath>
#include <map>
#include <sstream>
#include <utility>

#include "modelcards/error.h"
#include "modelcards/nearest_names.h"
#include "modelcards/yaml_text.h"

namespace vramplan {
namespace {

constexpr std::size_t kMaxBytes = 1U << 20U;
constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxEvents = 100'000;

enum class Shape : std::uint8_t { kMap, kList, kScalar, kNull };

struct Element {
  Shape shape = Shape::kNull;
  bool quoted = false;
  int line = 0;
  std::string text;                          // of a scalar
  std::vector<std::string> keys;             // of a map, in file order
  std::map<std::string, std::size_t> named;  // of a map: key -> element
  std::vector<std::size_t> items;            // of a list
};

struct Document {
  std::string file_name;
  std::vector<Element> elements;  // the first is the root
};

[[noreturn]] void refuse(const std::string& file_name, int line, const std::string& field,
                         const std::string& message, const std::string& help) {
  const std::string where = line > 0 ? file_name + ":" + std::to_string(line) : file_name;
  throw Error(ErrorCode::kBadYaml, message).at(where, field).help(help);
}

/// Builds the tree from events, so that every limit holds before a node exists.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(Document& document) : document_(document) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    begin(mark, "?", anchor, Shape::kNull);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    stop(mark, "an alias (*name) is not allowed", "write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (!stack_.empty() && awaits_key()) {
      check(mark, tag, anchor);
      take_key(mark, value);
      return;
    }
    const std::size_t element = begin(mark, tag, anchor, Shape::kScalar);
    document_.elements[element].text = value;
    document_.elements[element].quoted = tag == "!";
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    push(mark, begin(mark, tag, anchor, Shape::kList));
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    push(mark, begin(mark, tag, anchor, Shape::kMap));
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  struct Open {
    std::size_t element;
    bool awaits_value = false;  // of a map: `key` was read, its value was not
    std::string key;
  };

  [[noreturn]] void stop(const YAML::Mark& mark, const std::string& message,
                         const std::string& help) const {
    refuse(document_.file_name, mark.line + 1, path(), message, help);
  }

  std::string path() const {
    std::string out;
    for (const Open& open : stack_) {
      const Element& element = document_.elements[open.element];
      if (element.shape == Shape::kList)
        out.append("[").append(std::to_string(element.items.size())) += ']';
      if (!open.key.empty()) out.append(out.empty() ? "" : ".").append(printable(open.key, 60));
    }
    return out;
  }

  bool awaits_key() const {
    return document_.elements[stack_.back().element].shape == Shape::kMap &&
           !stack_.back().awaits_value;
  }

  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (++events_ > kMaxEvents) {
      stop(mark, "more than " + std::to_string(kMaxEvents) + " values", "split the file");
    }
    if (anchor != 0) stop(mark, "an anchor (&name) is not allowed", "write the value out");
    if (!tag.empty() && tag != "?" && tag != "!") {
      stop(mark, "the tag " + in_quotes(tag) + " is not allowed", "remove the tag");
    }
  }

  void take_key(const YAML::Mark& mark, const std::string& key) {
    Open& open = stack_.back();
    open.key = key;
    open.awaits_value = true;
    if (document_.elements[open.element].named.count(key) > 0) {
      stop(mark, "the key " + in_quotes(key) + " is written twice", "keep one of them");
    }
  }

  /// A new element, hung under the innermost open map or list.
  std::size_t begin(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    Shape shape) {
    check(mark, tag, anchor);
    if (!stack_.empty() && awaits_key()) {
      stack_.back().key.clear();
      stop(mark, "a key must be a plain word", "write key: value, and close every [ and {");
    }
    const std::size_t index = document_.elements.size();
    Element element;
    element.shape = shape;
    element.line = mark.line + 1;
    document_.elements.push_back(std::move(element));
    if (!stack_.empty()) {
      Open& open = stack_.back();
      Element& parent = document_.elements[open.element];
      if (parent.shape == Shape::kMap) {
        parent.named.emplace(open.key, index);
        parent.keys.push_back(open.key);
        open.awaits_value = false;
      } else {
        parent.items.push_back(index);
      }
    }
    return index;
  }

  void push(const YAML::Mark& mark, std::size_t element) {
    if (stack_.size() >= kMaxDepth) {
      stop(mark, "nested deeper than " + std::to_string(kMaxDepth), "flatten the file");
    }
    stack_.push_back({element, false, {}});
  }

  Document& document_;
  std::vector<Open> stack_;
  std::size_t events_ = 0;
};

void check_bytes(const std::string& text, const std::string& file_name) {
  if (text.size() > kMaxBytes) {
    refuse(file_name, 0, "", "the file is larger than 1 MiB",
           "cards and plans are small; is this one?");
  }
  int line = 1;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r') || byte == 0x7F) {
      refuse(file_name, line, "", "a control byte in the text", "is this a text file?");
    }
    const std::size_t length = utf8_length(text, i);
    if (length == 0) refuse(file_name, line, "", "the text is not UTF-8", "save the file as UTF-8");
    if (byte == '\n') ++line;
    i += length;
  }
}

std::string number_text(double value) {
  std::ostringstream out;
  out.precision(6);
  out << value;
  return out.str();
}

}  // namespace

struct YamlNode::Impl {
  std::shared_ptr<const Document> document;
  std::size_t element;
  std::string path;
  const Element& here() const { return document->elements[element]; }
};

YamlNode YamlNode::parse(const std::string& text, const std::string& file_name) {
  check_bytes(text, file_name);
  auto document = std::make_shared<Document>();
  document->file_name = file_name;
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    TreeBuilder builder(*document);
    if (!parser.HandleNextDocument(builder) || document->elements.empty()) {
      refuse(file_name, 0, "", "the file is empty", "write at least one key: value");
    }
    const std::size_t size = document->elements.size();
    TreeBuilder rest(*document);
    if (parser.HandleNextDocument(rest)) {
      refuse(file_name, document->elements[size].line, "", "a second document in one file",
             "remove everything from the second --- on");
    }
  } catch (const YAML::Exception& error) {
    refuse(file_name, error.mark.is_null() ? 0 : error.mark.line + 1, "", "not YAML: " + error.msg,
           "check the indentation, colons and brackets of this line");
  }
  YamlNode root;
  root.impl_ = std::make_shared<const Impl>(Impl{document, 0, ""});
  return root;
}

bool YamlNode::is_map() const { return impl_->here().shape == Shape::kMap; }
bool YamlNode::is_list() const { return impl_->here().shape == Shape::kList; }
bool YamlNode::is_scalar() const { return impl_->here().shape == Shape::kScalar; }

bool YamlNode::has(const std::string& key) const {
  if (!is_map()) fail("expected key: value pairs");
  return impl_->here().named.count(key) > 0;
}

YamlNode YamlNode::at(const std::string& key) const {
  if (!is_map()) fail("expected key: value pairs");
  const auto found = impl_->here().named.find(key);
  if (found == impl_->here().named.end()) {
    fail("the key " + in_quotes(key) + " is missing", "add " + printable(key, 60) + ": ...");
  }
  YamlNode child;
  const std::string path = impl_->path.empty() ? key : impl_->path + "." + key;
  child.impl_ = std::make_shared<const Impl>(Impl{impl_->document, found->second, path});
  return child;
}

YamlNode YamlNode::at(std::size_t index) const {
  if (!is_list()) fail("expected a list");
  if (index >= impl_->here().items.size()) {
    fail("the list has " + std::to_string(impl_->here().items.size()) + " entries");
  }
  YamlNode child;
  child.impl_ = std::make_shared<const Impl>(Impl{impl_->document, impl_->here().items[index],
                                                  impl_->path + "[" + std::to_string(index) + "]"});
  return child;
}

std::size_t YamlNode::size() const {
  if (is_map()) return impl_->here().keys.size();
  if (!is_list()) fail("expected a list");
  return impl_->here().items.size();
}

std::vector<std::string> YamlNode::keys() const {
  if (!is_map()) fail("expected key: value pairs");
  return impl_->here().keys;
}

std::string YamlNode::text() const {
  if (impl_->here().shape == Shape::kNull) fail("a value is missing");
  if (!is_scalar()) fail("expected a text, not a list or a map");
  return impl_->here().text;
}

std::int64_t YamlNode::integer(std::int64_t low, std::int64_t high) const {
  const std::string value = text();
  if (impl_->here().quoted || !is_json_integer(value)) {
    fail(in_quotes(value) + " is not an integer", "write decimal digits only, such as 4096");
  }
  std::int64_t number = 0;
  const auto [rest, status] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (status != std::errc() || number < low || number > high) {
    fail(printable(value, 40) + " is out of range",
         "allowed: " + std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

double YamlNode::real(double low, double high) const {
  const std::string value = text();
  if (impl_->here().quoted || !is_json_number(value)) {
    fail(in_quotes(value) + " is not a number", "write it as 0.5, 3 or 4.8e12");
  }
  double number = 0;
  const auto [rest, status] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (status != std::errc() || !std::isfinite(number) || number < low || number > high) {
    fail(printable(value, 40) + " is out of range",
         "allowed: " + number_text(low) + " to " + number_text(high));
  }
  return number;
}

bool YamlNode::boolean() const {
  const std::string value = text();
  if (impl_->here().quoted || (value != "true" && value != "false")) {
    fail(in_quotes(value) + " is neither true nor false", "write true or false");
  }
  return value == "true";
}

std::string YamlNode::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? at(key).text() : fallback;
}
std::int64_t YamlNode::integer_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                                  std::int64_t high) const {
  return has(key) ? at(key).integer(low, high) : fallback;
}
double YamlNode::real_or(const std::string& key, double fallback, double low, double high) const {
  return has(key) ? at(key).real(low, high) : fallback;
}
bool YamlNode::boolean_or(const std::string& key, bool fallback) const {
  return has(key) ? at(key).boolean() : fallback;
}

void YamlNode::allow_only(const std::vector<std::string>& allowed) const {
  for (const std::string& key : keys()) {
    bool known = false;
    for (const std::string& name : allowed) known = known || name == key;
    if (!known) {
      at(key).fail("the key " + in_quotes(key) + " is unknown", did_you_mean(key, allowed));
    }
  }
}

void YamlNode::fail(const std::string& message, const std::string& help) const {
  refuse(impl_->document->file_name, impl_->here().line, path(), message, help);
}

std::string YamlNode::path() const { return impl_->path.empty() ? "(document)" : impl_->path; }

}  // namespace vramplan
