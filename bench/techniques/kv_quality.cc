// What a KV cache format costs in quality and saves in bytes: perplexity of a text and the
// divergence of every position's distribution from that of the f16 cache, on a real model.
//
//   kv_quality MODEL.gguf TEXT.txt [f16 fp8 int8 q8_0 q4_0 ...]
//
// Prints a Markdown table. The text is prefilled in chunks of 128 tokens: what a chunk sees of the
// chunks before it, it sees through the cache.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "executor/engine.h"
#include "executor/kv_store.h"
#include "executor/tokenizer.h"

namespace vramplan {
namespace {

constexpr Tokens kChunk{128};

struct Distribution {
  std::vector<double> log_probability;  // [vocab]
};

Distribution log_softmax(const float* logits, std::size_t vocab) {
  double largest = logits[0];
  for (std::size_t i = 1; i < vocab; ++i) largest = std::max<double>(largest, logits[i]);
  double sum = 0;
  for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(logits[i] - largest);
  const double shift = largest + std::log(sum);
  Distribution out;
  out.log_probability.resize(vocab);
  for (std::size_t i = 0; i < vocab; ++i) out.log_probability[i] = logits[i] - shift;
  return out;
}

struct Quality {
  double perplexity = 0, mean_divergence = 0, worst_divergence = 0, same_best = 0;
};

/// `logits` against `base`, both [ids, vocab].
Quality compare(const std::vector<float>& logits, const std::vector<float>& base,
                const std::vector<std::int32_t>& ids) {
  const std::size_t vocab = logits.size() / ids.size(), positions = ids.size() - 1;
  Quality quality;
  for (std::size_t t = 0; t < positions; ++t) {
    const Distribution p = log_softmax(&base[t * vocab], vocab);
    const Distribution q = log_softmax(&logits[t * vocab], vocab);
    double divergence = 0;
    for (std::size_t i = 0; i < vocab; ++i) {
      const double weight = std::exp(p.log_probability[i]);
      divergence += weight * (p.log_probability[i] - q.log_probability[i]);
    }
    quality.mean_divergence += divergence / static_cast<double>(positions);
    quality.worst_divergence = std::max(quality.worst_divergence, divergence);
    const auto best = [](const Distribution& d) {
      return std::max_element(d.log_probability.begin(), d.log_probability.end()) -
             d.log_probability.begin();
    };
    if (best(p) == best(q)) quality.same_best += 1.0 / static_cast<double>(positions);
    quality.perplexity -=
        q.log_probability[static_cast<std::size_t>(ids[t + 1])] / static_cast<double>(positions);
  }
  quality.perplexity = std::exp(quality.perplexity);
  return quality;
}

Decisions decisions_for(const ModelSource& source, std::size_t tokens, KvFormat format) {
  Decisions decisions;
  decisions.model = source.path;
  decisions.card_hash = card_hash(source.card);
  decisions.kv_format = format;
  decisions.context = Tokens{static_cast<std::int64_t>(tokens) + 1};
  decisions.output = Tokens{1};
  decisions.prefill_chunk = kChunk;
  decisions.kv_blocks = blocks_for(decisions.context, decisions.block);
  decisions.threads = 2;
  decisions.linear_inputs = DType::kF32;  // no rounding but the cache's
  decisions.capacity = Bytes{8LL << 30};
  return decisions;
}

KvFormat format_named(const std::string& name) {
  for (int i = 0; i < kKvFormats; ++i) {
    if (name == name_of(static_cast<KvFormat>(i))) return static_cast<KvFormat>(i);
  }
  throw Error(ErrorCode::kUsage, "'" + name + "' is no KV format").at("", "formats");
}

int run(const std::string& model, const std::string& text_path,
        const std::vector<std::string>& formats) {
  const ModelSource source = open_model(model);
  std::ifstream file(text_path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto ids = Tokenizer::from_gguf(*source.gguf)->encode(text, false);
  if (ids.size() < 2) throw Error(ErrorCode::kUsage, text_path + " holds no text");
  const auto logits_with = [&](KvFormat format) {
    const Decisions decisions = decisions_for(source, ids.size(), format);
    const auto backend =
        make_cpu_backend(decisions.threads, decisions.capacity, decisions.linear_inputs);
    return prompt_logits(decisions, source, *backend, ids, false);
  };
  const ModelPart part = model_part(source.card, {}, 0);
  const auto token_bytes = [&](KvFormat format) {
    Decisions decisions;
    decisions.kv_format = format;
    return static_cast<double>(kv_groups(source.card, part, decisions).front().block_bytes.n) /
           static_cast<double>(decisions.block.n);
  };
  const std::vector<float> base = logits_with(KvFormat::kF16);
  const double full = token_bytes(KvFormat::kF16);
  fmt::print("{} tokens of {}, {}\n\n", ids.size(), text_path, source.card.name);
  fmt::print(
      "| KV format | bytes a token | of f16 | perplexity | KL mean | KL worst | same best |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const std::string& name : formats) {
    const KvFormat format = format_named(name);
    const Quality q = compare(logits_with(format), base, ids);
    fmt::print("| {} | {:.0f} | {:.1f} % | {:.3f} | {:.5f} | {:.4f} | {:.1f} % |\n", name,
               token_bytes(format), 100 * token_bytes(format) / full, q.perplexity,
               q.mean_divergence, q.worst_divergence, 100 * q.same_best);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace vramplan

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: kv_quality MODEL.gguf TEXT [formats ...]\n");
    return 2;
  }
  std::vector<std::string> formats(argv + 3, argv + argc);
  if (formats.empty()) formats = {"f32", "f16", "bf16", "fp8", "int8", "q8_0", "q4_0"};
  try {
    return vramplan::run(argv[1], argv[2], formats);
  } catch (const vramplan::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
