#pragma once
// Escape: the one place where text from outside (names of models, tensors, machines; formulas;
// paths) becomes part of a terminal line, an HTML page, an XML file, a Markdown table or a script.
// All of it is treated as hostile: bytes that are no UTF-8, control characters (C0, DEL, C1),
// direction overrides and line separators become a replacement character first.
#include <string>

namespace vramplan {

/// Valid UTF-8 on one line, at most 2000 characters, `replacement` for everything dangerous.
std::string clean_text(const std::string& text, const char* replacement = "\xEF\xBF\xBD");
/// For a terminal: '?' where something was stripped; with `ascii` also for every character above
/// 0x7e.
std::string terminal_text(const std::string& text, bool ascii = false);
/// For HTML and inline SVG, in text and in quoted attributes. The letters of an address scheme are
/// written as an entity, so that a search of the page for outside addresses finds none.
std::string html_text(const std::string& text);
/// For XML 1.0 text and quoted attributes.
std::string xml_text(const std::string& text);
/// For a Markdown table cell or paragraph: no markup, no HTML, no mention, no cell border.
std::string markdown_text(const std::string& text);
/// A JSON document for <script type="application/json">: no '<', '>', '&', U+2028 or U+2029 is
/// left.
std::string script_json(const std::string& json);

/// Characters of UTF-8 text: columns on a terminal for the text that the renderers print.
int text_columns(const std::string& text);
/// 1234567 -> "1,234,567".
std::string grouped(long long number);
/// "+1,234" or "-1,234" or "0".
std::string grouped_signed(long long number);

}  // namespace vramplan
