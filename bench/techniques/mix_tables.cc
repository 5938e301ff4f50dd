// Formats layer by layer and head by head: what each keeps and loses, and the mixes that keep a
// floor of quality. The study reads the first 512 tokens of the text; the table is of all of it, so
// that a mix is judged on text that it was not chosen by, too.
#include "bench/techniques/study_tables.h"
#include "planner/kv_mix.h"

namespace vramplan {
namespace {

constexpr std::size_t kStudied = 512;
constexpr std::int64_t kTogether = 3;

PlanRequest mix_request(const std::vector<KvLayerRange>& layers) {
  PlanRequest request = base_request();
  request.kv_layers = layers;
  request.prefill_chunk = Tokens{96};
  request.block_tokens = kResidualBlock.n;
  return request;
}

struct Row {
  std::string name;
  std::vector<KvLayerRange> layers;
};

class MixPage {
 public:
  MixPage(const Setting& setting, Page& page)
      : setting_(setting),
        page_(page),
        layers_(setting.source.card.layer_count()),
        base_(decide({})),
        backend_(make_cpu_backend(base_.threads, base_.capacity, base_.linear_inputs)),
        runs_(base_, setting.source, *backend_, false) {}

  void write() {
    std::vector<Row> rows = {{"f16", {}}};
    const auto uniform = [&](const KvEncoding& encoding) {
      rows.push_back({name_of(encoding), {{0, layers_, encoding}}});
    };
    for (const KvFormat format :
         {KvFormat::kInt8, KvFormat::kQ4_0, KvFormat::kKivi4, KvFormat::kKivi2}) {
      uniform(format);
    }
    const std::int64_t heads = setting_.source.card.layers.front().mixer.kv_heads;
    for (std::int64_t head = 0; head < heads; ++head) {
      uniform({KvFormat::kKivi2, KvHeads{std::uint64_t{1} << head}});
    }
    for (Row& row : found_rows()) rows.push_back(std::move(row));
    table(rows);
  }

 private:
  Decisions decide(const std::vector<KvLayerRange>& layers) const {
    Decisions d =
        setting_.plan_of(mix_request(layers), static_cast<std::int64_t>(setting_.ids.size()), 33)
            .decisions;
    d.linear_inputs = DType::kF32;  // no rounding but the cache's
    return d;
  }

  /// Mixes for several floors, from one study of the layers.
  std::vector<Row> found_rows() {
    const std::vector<std::int32_t> ids = setting_.first(kStudied);
    const QualityBase judge(runs_.logits(base_, ids), ids);
    MixQuestion question;
    question.floor = {false, 0.02};
    question.base = "f16";
    question.formats = {"int8", "q4_0", "kivi4", "kivi2"};
    question.layers_together = kTogether;
    const MixParts parts{
        layers_,
        quality_of(judge.itself()),
        [&](const std::vector<LayerWord>& layers) { return decide(kv_layers_of(layers, "")); },
        [&](const Decisions& d) { return mix_size(setting_.source, d, false); },
        [&](const Decisions& d) { return quality_of(judge.compare(runs_.logits(d, ids))); },
        [](double done) { Page::did(fmt::format("study {:.0f} %", 100 * done)); }};
    const auto flags = [](const Decisions& d) {
      const std::string layers = d.kv_layers.empty() ? "" : " --kv-layers " + text_of(d.kv_layers);
      return fmt::format("--kv-cache-dtype {}{}", name_of(kv_encoding(d)), layers);
    };
    std::vector<Row> rows;
    for (const FoundMix& mix : study_tables(page_, parts, question, kStudied, flags)) {
      rows.push_back({"mix, " + mix.floor, kv_layers_of(mix.layers, "")});
    }
    return rows;
  }

  void table(const std::vector<Row>& rows) {
    quality_head(page_, "KV cache", "f16");
    const QualityBase judge(runs_.logits(base_, setting_.ids), setting_.ids);
    Bytes full;
    for (const Row& row : rows) {
      const PlannedRun r = setting_.run_of(mix_request(row.layers), {setting_.ids}, 33);
      if (full == Bytes{}) full = r.observed();
      const TextQuality q = row.layers.empty()
                                ? judge.itself()
                                : judge.compare(runs_.logits(decide(row.layers), setting_.ids));
      quality_row(page_, {row.name, r.predicted(), r.observed(), full,
                          r.plan.predictions.performance.tpot, r.measurement.timings.tpot, q});
    }
  }

  const Setting& setting_;
  Page& page_;
  std::int64_t layers_;
  Decisions base_;
  std::unique_ptr<Backend> backend_;
  PromptRuns runs_;
};

}  // namespace

void mix_tables(const Setting& setting, Page& page) { MixPage(setting, page).write(); }

}  // namespace vramplan
