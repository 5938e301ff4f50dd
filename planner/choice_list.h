#pragma once
// ChoiceList: the decisions that are being made, and the list of those nobody asked for. What the
// parts of a chooser share.
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "planner/choices.h"

namespace vramplan {

[[noreturn]] inline void refuse_choice(const char* flag, const std::string& message,
                                       const std::string& fix) {
  throw Error(ErrorCode::kUsage, message).at("", flag).help(fix);
}

class ChoiceList {
 public:
  explicit ChoiceList(Choices& out) : out_(out) {}

 protected:
  Decisions& d() { return out_.decisions; }

  void assume(std::string what, std::string value, const char* flag) {
    out_.assumptions.push_back({std::move(what), std::move(value), flag});
  }
  /// Another value of what is listed already.
  void assumed_instead(const char* flag, const char* value) {
    for (Assumption& assumption : out_.assumptions) {
      if (assumption.flag == flag) assumption.value = value;
    }
  }
  /// The request's value within [low, high], or the default, listed.
  std::int64_t number(const std::optional<std::int64_t>& asked, std::int64_t fallback,
                      const char* what, const char* flag, std::int64_t high) {
    if (!asked) {
      assume(what, std::to_string(fallback), flag);
      return fallback;
    }
    if (*asked < 1 || *asked > high) {
      refuse_choice(flag, fmt::format("{} of {} is out of range", what, *asked),
                    fmt::format("give a number from 1 to {}", high));
    }
    return *asked;
  }
  std::optional<std::int64_t> raw(const std::optional<Tokens>& tokens) const {
    return tokens ? std::optional<std::int64_t>(tokens->n) : std::nullopt;
  }

 private:
  Choices& out_;
};

}  // namespace vramplan
