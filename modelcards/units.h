#pragma once
// Units: counts that are types. Bytes + Tokens does not compile, arithmetic that leaves 64 bits
// throws kOverflow, and every division says how it rounds. Not a general units library.
#include <compare>
#include <cstdint>
#include <limits>
#include <string>

#include "modelcards/error.h"

namespace vramplan {

namespace detail {
[[noreturn]] inline void overflow(const char* operation) {
  throw Error(ErrorCode::kOverflow, std::string("a quantity leaves 64 bits in ") + operation)
      .help("check the card, context, batch and counts for a number that is far too large");
}
constexpr std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  if (__builtin_add_overflow(a, b, &r)) overflow("an addition");
  return r;
}
constexpr std::int64_t checked_sub(std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  if (__builtin_sub_overflow(a, b, &r)) overflow("a subtraction");
  return r;
}
constexpr std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  if (__builtin_mul_overflow(a, b, &r)) overflow("a multiplication");
  return r;
}
}  // namespace detail

/// A signed 64-bit count of one unit. Signed, so that "free minus needed" may go below zero.
template <class Unit>
struct Count {
  std::int64_t n = 0;

  friend constexpr auto operator<=>(Count, Count) = default;
  friend constexpr Count operator+(Count a, Count b) { return {detail::checked_add(a.n, b.n)}; }
  friend constexpr Count operator-(Count a, Count b) { return {detail::checked_sub(a.n, b.n)}; }
  friend constexpr Count operator-(Count a) { return {detail::checked_sub(0, a.n)}; }
  friend constexpr Count operator*(Count a, std::int64_t k) {
    return {detail::checked_mul(a.n, k)};
  }
  friend constexpr Count operator*(std::int64_t k, Count a) { return a * k; }
  constexpr Count& operator+=(Count b) { return *this = *this + b; }
  constexpr Count& operator-=(Count b) { return *this = *this - b; }
};

using Bytes = Count<struct BytesUnit>;
using Tokens = Count<struct TokensUnit>;
using Blocks = Count<struct BlocksUnit>;
using Elements = Count<struct ElementsUnit>;

/// An exact integer rate: Per<Bytes, Tokens> * Tokens gives Bytes.
template <class Num, class Den>
struct Per {
  std::int64_t n = 0;
  friend constexpr auto operator<=>(Per, Per) = default;
  friend constexpr Num operator*(Per r, Den d) { return {detail::checked_mul(r.n, d.n)}; }
  friend constexpr Num operator*(Den d, Per r) { return r * d; }
  friend constexpr Per operator+(Per a, Per b) { return {detail::checked_add(a.n, b.n)}; }
  friend constexpr Per operator*(Per a, std::int64_t k) { return {detail::checked_mul(a.n, k)}; }
};
using BytesPerToken = Per<Bytes, Tokens>;
using BytesPerBlock = Per<Bytes, Blocks>;
using TokensPerBlock = Per<Tokens, Blocks>;

/// ceil(a / b) for a >= 0, b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  VRAMPLAN_CHECK(a >= 0 && b > 0);
  return a / b + (a % b != 0 ? 1 : 0);
}
/// floor(a / b) for a >= 0, b > 0.
constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  VRAMPLAN_CHECK(a >= 0 && b > 0);
  return a / b;
}
/// The smallest multiple of `granule` that is >= a.
constexpr Bytes round_up(Bytes a, Bytes granule) {
  return {detail::checked_mul(ceil_div(a.n, granule.n), granule.n)};
}
constexpr Blocks blocks_for(Tokens tokens, TokensPerBlock block) {
  return {ceil_div(tokens.n, block.n)};
}

/// Real-valued quantities. A tag keeps them apart; they print in their own unit.
template <class Unit>
struct Quantity {
  double v = 0;
  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.v + b.v}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.v - b.v}; }
  friend constexpr Quantity operator*(Quantity a, double k) { return {a.v * k}; }
  constexpr Quantity& operator+=(Quantity b) { return *this = *this + b; }
};
using Seconds = Quantity<struct SecondsUnit>;
using BytesPerSecond = Quantity<struct BytesPerSecondUnit>;
using FlopsPerSecond = Quantity<struct FlopsPerSecondUnit>;

constexpr Seconds operator/(Bytes bytes, BytesPerSecond rate) {
  return {static_cast<double>(bytes.n) / rate.v};
}

inline namespace literals {
constexpr Bytes operator""_B(unsigned long long v) { return {static_cast<std::int64_t>(v)}; }
constexpr Bytes operator""_KiB(unsigned long long v) {
  return 1024_B * static_cast<std::int64_t>(v);
}
constexpr Bytes operator""_MiB(unsigned long long v) {
  return 1024_KiB * static_cast<std::int64_t>(v);
}
constexpr Bytes operator""_GiB(unsigned long long v) {
  return 1024_MiB * static_cast<std::int64_t>(v);
}
constexpr Bytes operator""_GB(unsigned long long v) {
  return 1'000'000'000_B * static_cast<std::int64_t>(v);
}
constexpr Tokens operator""_tokens(unsigned long long v) { return {static_cast<std::int64_t>(v)}; }
}  // namespace literals

/// "10.00 GiB", "512 B": for people. Machines get the integer.
std::string to_text(Bytes bytes);
std::string to_text(Seconds seconds);
/// Parses "32k" (1024-based for tokens), "80GiB", "80GB", "1000". Throws kUsage naming `flag`.
Bytes parse_bytes(const std::string& text, const std::string& flag);
Tokens parse_tokens(const std::string& text, const std::string& flag);

}  // namespace vramplan
