#include "executor/measurement_wire.h"

#include <cstring>
#include <type_traits>
#include <vector>

#include "modelcards/error.h"

namespace vramplan {
namespace {

/// Both directions take the same walk over the fields: what is written is what is read.
class Writer {
 public:
  template <class T>
  void number(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(std::string& value) {
    auto size = static_cast<std::uint64_t>(value.size());
    number(size);
    bytes_ += value;
  }
  template <class T, class Item>
  void list(std::vector<T>& values, Item item) {
    auto size = static_cast<std::uint64_t>(values.size());
    number(size);
    for (T& value : values) item(value);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  template <class T>
  void number(T& value) {
    std::memcpy(&value, next(sizeof value), sizeof value);
  }
  void text(std::string& value) {
    std::uint64_t size = 0;
    number(size);
    value.assign(next(size), size);
  }
  template <class T, class Item>
  void list(std::vector<T>& values, Item item) {
    std::uint64_t size = 0;
    number(size);
    values.clear();
    for (std::uint64_t i = 0; i < size; ++i) {
      values.emplace_back();
      item(values.back());
    }
  }
  void require_end() const {
    if (at_ != bytes_.size()) throw broken();
  }

 private:
  static Error broken() {
    return Error(ErrorCode::kInternal, "a replica sent a measurement that cannot be read");
  }
  const char* next(std::uint64_t size) {
    if (size > bytes_.size() - at_) throw broken();
    const char* const here = bytes_.data() + at_;
    at_ += size;
    return here;
  }
  const std::string& bytes_;
  std::size_t at_ = 0;
};

template <class Wire>
void walk(Wire& wire, LedgerRow& row) {
  wire.number(row.rank);
  wire.number(row.tier);
  wire.number(row.category);
  wire.text(row.name);
  wire.number(row.phase);
  wire.number(row.bytes);
  wire.text(row.formula);
}

template <class Wire>
void walk(Wire& wire, std::vector<ObservedTerm>& terms) {
  wire.list(terms, [&wire](ObservedTerm& term) {
    wire.text(term.op);
    wire.number(term.calls);
    wire.number(term.seconds);
  });
}

template <class Wire>
void walk(Wire& wire, Timings& t) {
  for (Seconds* seconds : {&t.load, &t.ttft, &t.prefill, &t.decode, &t.tpot}) wire.number(*seconds);
  for (std::int64_t* count : {&t.rounds, &t.prefill_tokens, &t.decode_steps, &t.decode_tokens}) {
    wire.number(*count);
  }
  for (double* rate : {&t.prefill_tokens_per_second, &t.decode_tokens_per_second,
                       &t.memory_bytes_per_s, &t.card_memory_bytes_per_s, &t.tokens_a_step}) {
    wire.number(*rate);
  }
  wire.list(t.decode_step_seconds, [&wire](double& step) { wire.number(step); });
  walk(wire, t.prefill_terms);
  walk(wire, t.decode_terms);
}

template <class Wire>
void walk(Wire& wire, MemorySample& sample) {
  wire.number(sample.at);
  wire.number(sample.phase);
  wire.text(sample.moment);
  wire.number(sample.taken);
  wire.number(sample.resident);
}

template <class Wire>
void walk(Wire& wire, Measurement& m, std::vector<LedgerRow>& rows) {
  wire.list(rows, [&wire](LedgerRow& row) { walk(wire, row); });
  wire.list(m.samples, [&wire](MemorySample& sample) { walk(wire, sample); });
  wire.number(m.process_peak);
  walk(wire, m.timings);
  wire.list(m.output, [&wire](std::vector<std::int32_t>& tokens) {
    wire.list(tokens, [&wire](std::int32_t& token) { wire.number(token); });
  });
  wire.list(m.scores, [&wire](double& score) { wire.number(score); });
  bool preempts = m.preemption.has_value();
  wire.number(preempts);
  if (preempts) {
    PreemptionCounts counts = m.preemption.value_or(PreemptionCounts{});
    wire.number(counts);
    m.preemption = counts;
  }
  bool guesses = m.speculation.has_value();
  wire.number(guesses);
  if (guesses) {
    SpeculationCounts counts = m.speculation.value_or(SpeculationCounts{});
    wire.number(counts);
    m.speculation = counts;
  }
  wire.list(m.capacity, [&wire](RankCapacity& capacity) { wire.number(capacity); });
  wire.list(m.replicas, [&wire](ReplicaMeasurement& replica) { wire.number(replica); });
  wire.text(m.environment.machine);
  wire.text(m.text);
  wire.number(m.complete);
}

}  // namespace

std::string packed_measurement(const Measurement& measurement) {
  Measurement copy = measurement;
  std::vector<LedgerRow> rows = copy.observed.rows();
  Writer writer;
  walk(writer, copy, rows);
  return writer.take();
}

Measurement unpacked_measurement(const std::string& bytes) {
  Measurement measurement;
  std::vector<LedgerRow> rows;
  Reader reader(bytes);
  walk(reader, measurement, rows);
  reader.require_end();
  for (LedgerRow& row : rows) measurement.observed.add(std::move(row));
  return measurement;
}

}  // namespace vramplan
