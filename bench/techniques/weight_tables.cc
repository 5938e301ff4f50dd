// Weights converted at load: formats of all layers and of some, what each keeps and loses against
// the file's own, and the mixes that keep a floor of quality. Studied on the first 512 tokens of
// the text, judged on all of it.
#include "bench/techniques/study_tables.h"
#include "planner/weight_mix.h"
#include "planner/weights.h"

namespace vramplan {
namespace {

constexpr std::size_t kStudied = 512;
constexpr std::int64_t kTogether = 3;

PlanRequest weight_request(const std::vector<WeightLayerRange>& layers,
                           std::optional<DType> all = {}) {
  PlanRequest request = base_request();
  request.weight_layers = layers;
  request.weights = all;
  return request;
}

struct Row {
  std::string name;
  PlanRequest request;
};

class WeightPage {
 public:
  WeightPage(const Setting& setting, Page& page)
      : setting_(setting),
        page_(page),
        layers_(setting.source.card.layer_count()),
        base_(decide(weight_request({}))),
        backend_(make_cpu_backend(base_.threads, base_.capacity, base_.linear_inputs)) {}

  void write() {
    std::vector<Row> rows = {{"as stored", weight_request({})}};
    const std::vector<std::string> formats = smaller_formats();
    for (const std::string& format : formats) {
      const auto dtype = weight_format_from(format);
      rows.push_back({"layers " + format, weight_request({{0, layers_, dtype}})});
      rows.push_back({"all " + format, weight_request({}, dtype)});
    }
    for (const FoundMix& mix : found(formats)) {
      rows.push_back({"mix, " + mix.floor, weight_request(weight_layers_of(mix.layers, ""))});
    }
    table(rows);
  }

 private:
  Decisions decide(const PlanRequest& request) const {
    Decisions d =
        setting_.plan_of(request, static_cast<std::int64_t>(setting_.ids.size()), 33).decisions;
    d.linear_inputs = DType::kF32;  // no rounding but the weights'
    return d;
  }
  Decisions decide_words(const std::vector<LayerWord>& layers) const {
    return decide(weight_request(weight_layers_of(layers, "")));
  }
  MixSize size(const Decisions& d) const { return mix_size(setting_.source, d, true); }

  /// In which the layers are smaller than in the file.
  std::vector<std::string> smaller_formats() const {
    std::vector<std::string> formats;
    for (const char* format : {"q8_0", "q5_0", "q4_1", "q4_0"}) {
      if (size(decide_words({{0, layers_, format}})).bytes < size(base_).bytes) {
        formats.emplace_back(format);
      }
    }
    return formats;
  }

  std::vector<float> logits(const Decisions& d, const std::vector<std::int32_t>& ids) {
    return prompt_logits(d, setting_.source, *backend_, ids, false);
  }

  std::vector<FoundMix> found(const std::vector<std::string>& formats) {
    const std::vector<std::int32_t> ids = setting_.first(kStudied);
    const QualityBase judge(logits(base_, ids), ids);
    MixQuestion question;
    question.floor = {false, 0.02};
    question.base = weight_word({});
    question.formats = formats;
    question.layers_together = kTogether;
    const MixParts parts{
        layers_,
        quality_of(judge.itself()),
        [&](const auto& layers) { return decide_words(layers); },
        [&](const Decisions& d) { return size(d); },
        [&](const Decisions& d) { return quality_of(judge.compare(logits(d, ids))); },
        [](double done) { Page::did(fmt::format("study {:.0f} %", 100 * done)); }};
    return study_tables(page_, parts, question, kStudied, [](const Decisions& d) {
      return d.weight_layers.empty() ? "--weights stored"
                                     : "--weight-layers " + text_of(d.weight_layers);
    });
  }

  void table(const std::vector<Row>& rows) {
    quality_head(page_, "weights", "stored");
    const QualityBase judge(logits(base_, setting_.ids), setting_.ids);
    Bytes full;
    for (const Row& row : rows) {
      const PlannedRun r = setting_.run_of(row.request, {setting_.ids}, 33);
      const auto bytes = [](const Ledger& ledger) {
        return ledger.sum(0, TierKind::kDevice, Category::kWeights);
      };
      const Bytes observed = bytes(r.measurement.observed);
      if (full == Bytes{}) full = observed;
      const TextQuality q = full == observed
                                ? judge.itself()
                                : judge.compare(logits(decide(row.request), setting_.ids));
      quality_row(page_, {row.name, bytes(r.plan.predictions.ledger), observed, full,
                          r.plan.predictions.performance.tpot, r.measurement.timings.tpot, q});
    }
  }

  const Setting& setting_;
  Page& page_;
  std::int64_t layers_;
  Decisions base_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

void weight_tables(const Setting& setting, Page& page) { WeightPage(setting, page).write(); }

}  // namespace vramplan
