#include "planner/runtime_overhead.h"

#include <fmt/format.h>

namespace vramplan {
namespace {

std::string from_card(const DeviceCard& device, const char* field,
                      const Sourced<std::int64_t>& value) {
  std::string text =
      fmt::format("{} of device card {} ({}", field, device.name, name_of(value.evidence));
  if (!value.source.empty()) text += ": " + value.source;
  return text + ")";
}

/// Counts the texts under a key; gives back their bytes.
std::int64_t count_texts(const Gguf& gguf, const char* key, std::int64_t& count,
                         TokenizerTables& tables) {
  std::int64_t bytes = 0;
  if (!gguf.has(key)) return bytes;
  for (const std::string& text : gguf.texts(key)) {
    ++count;
    const auto length = static_cast<std::int64_t>(text.size());
    bytes += length;
    if (length <= kTokenizerConstants.short_text) continue;
    ++tables.long_texts;
    tables.long_text_bytes += length;
  }
  return bytes;
}

std::string tokenizer_formula(const TokenizerTables& t) {
  const TokenizerConstants& c = kTokenizerConstants;
  std::string text = fmt::format("{} B + {} tokens x {} B + {} B of text", c.fixed_bytes, t.tokens,
                                 c.bytes_per_token, t.token_text_bytes);
  const auto add = [&](std::int64_t count, const char* what, std::int64_t each) {
    if (count > 0) text += fmt::format(" + {} {} x {} B", count, what, each);
  };
  add(t.merges, "merges", c.bytes_per_merge);
  add(t.types, "types", c.bytes_per_type);
  add(t.scores, "scores", c.bytes_per_score);
  add(t.long_texts, "long texts", c.heap_block_bytes);
  text += fmt::format(" + {} B of long text", t.long_text_bytes);
  if (t.draft_header_bytes > 0) {
    text += fmt::format(" + {} B of the draft's header", t.draft_header_bytes);
  }
  return text;
}

}  // namespace

const char* name_of(Evidence evidence) {
  static constexpr const char* kNames[] = {"datasheet", "measured", "assumed"};
  return kNames[static_cast<int>(evidence)];
}

namespace {

/// Each text is a string object, long ones in a block of the heap; types and scores are 4 bytes.
std::int64_t header_bytes(const ModelSource& source) {
  const TokenizerTables t = tokenizer_tables(source);
  const std::int64_t object = 32, number = 4;
  return object * (t.tokens + t.merges) + number * (t.types + t.scores) + t.long_text_bytes +
         kTokenizerConstants.heap_block_bytes * t.long_texts;
}

}  // namespace

TokenizerTables tokenizer_tables(const ModelSource& source) {
  TokenizerTables tables;
  if (!source.gguf) return tables;
  const Gguf& gguf = *source.gguf;
  tables.token_text_bytes = count_texts(gguf, "tokenizer.ggml.tokens", tables.tokens, tables);
  count_texts(gguf, "tokenizer.ggml.merges", tables.merges, tables);
  if (gguf.has("tokenizer.ggml.token_type")) tables.types = tables.tokens;
  if (gguf.has("tokenizer.ggml.scores")) tables.scores = tables.tokens;
  if (source.draft != nullptr) tables.draft_header_bytes = header_bytes(*source.draft);
  return tables;
}

Bytes tokenizer_bytes(const TokenizerTables& t) {
  const TokenizerConstants& c = kTokenizerConstants;
  if (!t.present()) return {};
  return Bytes{c.fixed_bytes} + Bytes{c.bytes_per_token} * t.tokens + Bytes{t.token_text_bytes} +
         Bytes{c.bytes_per_merge} * t.merges + Bytes{c.bytes_per_type} * t.types +
         Bytes{c.bytes_per_score} * t.scores + Bytes{c.heap_block_bytes} * t.long_texts +
         Bytes{t.long_text_bytes} + Bytes{t.draft_header_bytes};
}

std::vector<LedgerRow> runtime_rows(const DeviceCard& device, const TokenizerTables& tables,
                                    int rank, int ranks) {
  std::vector<LedgerRow> rows;
  const auto add = [&](TierKind tier, Category category, const char* name, Bytes bytes,
                       std::string formula) {
    rows.push_back({rank, tier, category, name, Phase::kLoad, bytes, std::move(formula)});
  };
  const auto card_row = [&](TierKind tier, Category category, const char* name, const char* field,
                            const Sourced<std::int64_t>& value) {
    add(tier, category, name, {value.value}, from_card(device, field, value));
  };
  const bool gpu = device.kind != DeviceKind::kCpu;
  const TierKind process_tier = gpu ? TierKind::kHost : TierKind::kDevice;
  if (gpu) {
    card_row(TierKind::kDevice, Category::kRuntime, "context", "context_bytes",
             device.context_bytes);
    card_row(TierKind::kDevice, Category::kRuntime, "modules", "module_bytes", device.module_bytes);
    card_row(TierKind::kDevice, Category::kWorkspace, "gemm", "workspace_bytes",
             device.workspace_bytes);
    if (ranks > 1) {
      card_row(TierKind::kDevice, Category::kComm, "communicator", "comm_bytes", device.comm_bytes);
    }
  }
  card_row(process_tier, Category::kRuntime, "process base", "process_base_bytes",
           device.process_base_bytes);
  if (tables.present()) {
    add(process_tier, Category::kRuntime, "tokenizer", tokenizer_bytes(tables),
        tokenizer_formula(tables));
  }
  return rows;
}

}  // namespace vramplan
