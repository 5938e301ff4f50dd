#include "planner/runtime_overhead.h"

#include <fmt/format.h>

namespace vramplan {
namespace {

std::string from_card(const DeviceCard& device, const char* field,
                      const Sourced<std::int64_t>& value) {
  std::string text = fmt::format("{} of device card {} ({}", field, device.name, name_of(value.evidence));
  if (!value.source.empty()) text += ": " + value.source;
  return text + ")";
}

void count_texts(const Gguf& gguf, const char* key, std::int64_t& count, TokenizerTables& tables) {
  if (!gguf.has(key)) return;
  for (const std::string& text : gguf.texts(key)) {
    ++count;
    const auto length = static_cast<std::int64_t>(text.size());
    if (length <= kTokenizerConstants.short_text) continue;
    ++tables.long_texts;
    tables.long_text_bytes += length;
  }
}

std::string tokenizer_formula(const TokenizerTables& t) {
  const TokenizerConstants& c = kTokenizerConstants;
  return fmt::format("{} tokens x {} B + {} merges x {} B + {} types x {} B + 2 x ({} long texts x {} B + "
                     "{} B of text)",
                     t.tokens, c.bytes_per_token, t.merges, c.bytes_per_merge, t.types, c.bytes_per_type,
                     t.long_texts, c.heap_block_bytes, t.long_text_bytes);
}

}  // namespace

const char* name_of(Evidence evidence) {
  static constexpr const char* kNames[] = {"datasheet", "measured", "assumed"};
  return kNames[static_cast<int>(evidence)];
}

TokenizerTables tokenizer_tables(const ModelSource& source) {
  TokenizerTables tables;
  if (!source.gguf) return tables;
  count_texts(*source.gguf, "tokenizer.ggml.tokens", tables.tokens, tables);
  count_texts(*source.gguf, "tokenizer.ggml.merges", tables.merges, tables);
  if (source.gguf->has("tokenizer.ggml.token_type")) tables.types = tables.tokens;
  return tables;
}

Bytes tokenizer_bytes(const TokenizerTables& tables) {
  const TokenizerConstants& c = kTokenizerConstants;
  // A long text is held twice: in the header and in the table built from it.
  const Bytes texts = (Bytes{c.heap_block_bytes} * tables.long_texts + Bytes{tables.long_text_bytes}) * 2;
  return Bytes{c.bytes_per_token} * tables.tokens + Bytes{c.bytes_per_merge} * tables.merges +
         Bytes{c.bytes_per_type} * tables.types + texts;
}

std::vector<LedgerRow> runtime_rows(const DeviceCard& device, const TokenizerTables& tables, int rank,
                                    int ranks) {
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
    card_row(TierKind::kDevice, Category::kRuntime, "context", "context_bytes", device.context_bytes);
    card_row(TierKind::kDevice, Category::kRuntime, "modules", "module_bytes", device.module_bytes);
    card_row(TierKind::kDevice, Category::kWorkspace, "gemm", "workspace_bytes", device.workspace_bytes);
    if (ranks > 1) {
      card_row(TierKind::kDevice, Category::kComm, "communicator", "comm_bytes", device.comm_bytes);
    }
  }
  card_row(process_tier, Category::kRuntime, "process base", "process_base_bytes",
           device.process_base_bytes);
  if (tables.present()) {
    add(process_tier, Category::kRuntime, "tokenizer", tokenizer_bytes(tables), tokenizer_formula(tables));
  }
  return rows;
}

}  // namespace vramplan
