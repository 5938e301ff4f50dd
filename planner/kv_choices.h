#pragma once
// KvChoices: the part of a request that is about the KV cache: what is kept, how and where blocks
// lie, and which sequences share or lack them.
#include "planner/choice_list.h"

namespace vramplan {

class KvChoices : private ChoiceList {
 public:
  KvChoices(const ModelSource& source, const PlanRequest& request, Choices& out)
      : ChoiceList(out), source_(source), request_(request) {}

  /// What does not hang on the lengths. After the KV format is known.
  void policy();
  void layers();
  void residual();
  void layout();
  void placement();
  /// Sequences of a prompt; the batch when nobody says.
  std::int64_t asked_samples() const;
  /// After context, output, batch and chunk are known.
  void lengths();

 private:
  [[noreturn]] void does_not_suit(const char* why) const;
  void sink_window(bool windowed);
  void mass(bool windowed);
  void sharing();
  void preemption();
  void budget();
  std::int64_t least_budget();

  const ModelSource& source_;
  const PlanRequest& request_;
};

}  // namespace vramplan
