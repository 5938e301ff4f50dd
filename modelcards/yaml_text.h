#pragma once
// Pure text rules of the YAML reader: which scalars are numbers, what is UTF-8.
#include <cstddef>
#include <string>

namespace vramplan {

/// -?(0|[1-9][0-9]*) and nothing else: no octal, hexadecimal, sign, underscore or exponent.
bool is_json_integer(const std::string& text);
/// A JSON number: no .inf, .nan, leading zero or bare point.
bool is_json_number(const std::string& text);
/// Bytes of the UTF-8 sequence at `i`, 0 when invalid (overlong, surrogate, cut).
std::size_t utf8_length(const std::string& text, std::size_t i);
/// 'text' for a message: control bytes replaced, cut at 60.
std::string in_quotes(const std::string& text);

}  // namespace vramplan
