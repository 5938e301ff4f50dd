// search: which devices, how many, sharded how, in which formats.
#include <algorithm>

#include <fmt/format.h>

#include "cli/commands.h"
#include "cli/model_names.h"
#include "cli/plan_options.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/usage.h"
#include "modelcards/file.h"
#include "modelcards/library.h"
#include "modelcards/yaml.h"
#include "planner/search.h"
#include "reports/search_report.h"

namespace vramplan::cli {
namespace {

struct SearchCommand {
  PlanOptions plan;
  std::vector<std::string> devices, placements;
  std::optional<double> ttft, tpot, throughput, price;
  std::optional<std::int64_t> sequences;
  std::string price_file, quality = "four_bit", format = "table";
  int most_devices = 64;
  bool weight_offload = false, activation_offload = false;
};

/// YAML: usd_per_hour: {h100-sxm-80gb: 2.5}
std::map<std::string, double> read_prices(const std::string& path) {
  std::map<std::string, double> prices;
  if (path.empty()) return prices;
  const YamlNode root = YamlNode::parse(read_text(*open_file(path), 1_MiB), path);
  root.allow_only({"usd_per_hour", "source"});
  const YamlNode table = root.at("usd_per_hour");
  for (const std::string& name : table.keys()) {
    device_card(name);  // a price for a card that does not exist is a mistake
    prices[name] = table.at(name).real(0, 1e6);  // 0: owned already
  }
  return prices;
}

Quality quality_of(const std::string& text) {
  for (const Quality q : {Quality::kLossless, Quality::kEightBit, Quality::kFourBit}) {
    if (text == name_of(q)) return q;
  }
  throw Error(ErrorCode::kUsage, fmt::format("--quality does not know '{}'", printable(text)))
      .at("", "--quality")
      .help("lossless, eight_bit or four_bit: the most that may be lost");
}

std::vector<DeviceCard> devices_of(const std::vector<std::string>& named) {
  std::vector<DeviceCard> cards;
  for (const std::string& name : named.empty() ? device_card_names() : named) {
    DeviceCard card = choose_device(name).card;
    if (named.empty() && card.kind != DeviceKind::kGpu) continue;
    cards.push_back(std::move(card));
  }
  return cards;
}

std::string rendered(const SearchCommand& options, const Session& session,
                     const SearchResult& result, const SearchRequest& request,
                     const StrategySpace& space) {
  const std::string format = session.json ? "json" : options.format;
  if (format == "json") return search_json(result, request, space);
  if (format == "yaml") return search_yaml(result, request, space);
  if (format == "csv") return search_csv(result, request, space);
  if (format == "md") return search_markdown(result, request, space);
  return search_text(result, request, space, text_options());
}

int run_search(const SearchCommand& asked, const Session& session) {
  SearchCommand options = asked;
  options.plan.model = named_model(asked.plan.model);
  SearchRequest request;
  request.plan = request_of(options.plan);
  request.devices = devices_of(options.devices);
  request.usd_per_hour = read_prices(options.price_file);
  for (const std::string& placement : options.placements) {
    request.placements.push_back(read_kv_placement(placement));
  }
  request.weights_on_host = options.weight_offload;
  request.hidden_on_host = options.activation_offload;
  if (options.activation_offload && !options.weight_offload) {
    throw Error(ErrorCode::kUsage, "prompts go layer by layer where matrices come in for each pass")
        .at("", "--activation-offload")
        .help("add --weight-offload");
  }
  SearchLimits& limits = request.limits;
  if (options.ttft) limits.ttft = Seconds{*options.ttft / 1e3};
  if (options.tpot) limits.tpot = Seconds{*options.tpot / 1e3};
  limits.tokens_per_second = options.throughput;
  limits.usd_per_hour = options.price;
  limits.sequences = options.sequences;
  limits.quality = quality_of(options.quality);
  limits.most_devices = options.most_devices;
  ModelSource source = open_model(options.plan.model);
  for (const auto& assignment : options.plan.set) set_field(source.card, assignment);
  validate(source.card);
  const StrategySpace space(source, request);
  const SearchResult result = search(space, request);
  print_result(rendered(options, session, result, request, space));
  return result.smallest ? kExitFits : kExitDoesNotFit;
}

}  // namespace

void add_search_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<SearchCommand>();
  CLI::App* command = app.add_subcommand(
      "search", "Finds the devices, count, sharding, formats and batch that meet the limits");
  command->add_option("MODEL", options->plan.model, "card name, GGUF file, or checkpoint folder")
      ->required();
  command->add_option("--devices", options->devices, "device cards, by comma; default: all GPUs")
      ->delimiter(',');
  command->add_option("--most-devices", options->most_devices, "at most this many; default 64");
  command->add_option("--context", options->plan.context, "tokens of a sequence, e.g. 32k");
  command->add_option("--output-tokens", options->plan.output, "of which generated");
  command->add_option("--prefill-chunk", options->plan.prefill_chunk,
                      "most tokens of one forward pass");
  command->add_option("--ttft", options->ttft, "most milliseconds to the first token");
  command->add_option("--tpot", options->tpot, "most milliseconds a token");
  command->add_option("--throughput", options->throughput, "least tokens/s, all replicas together");
  command->add_option("--sequences,--batch", options->sequences,
                      "least sequences at the same time");
  command->add_option("--price", options->price, "most US dollars an hour");
  command->add_option(
      "--price-file", options->price_file,
      "YAML: usd_per_hour: {h100-sxm-80gb: 2.5}; 0 is a price, a card left out has none");
  command->add_option("--quality", options->quality,
                      "the most that may be lost: lossless, eight_bit, four_bit");
  command
      ->add_option("--kv-placement", options->placements,
                   "where the KV cache may live: device, host, disk, by comma; default: device")
      ->delimiter(',');
  command->add_flag("--weight-offload", options->weight_offload,
                    "matrices may live in host memory where they do not fit on the device");
  command->add_flag("--activation-offload", options->activation_offload,
                    "with --weight-offload: prompts may go layer by layer, hidden states in host "
                    "memory");
  command->add_option("--set", options->plan.set, "path=value on the model card")
      ->take_all()
      ->expected(1);
  command->add_flag("--json", session.json, "one JSON object (schema vramplan.search/1)");
  add_list_format(*command, options->format);
  set_examples(*command,
               {"vramplan search llama-3.1-70b --context 8k --tpot 30 --price-file prices.yaml",
                "vramplan search qwen3-32b --devices h100-sxm-80gb,l40s-48gb --throughput 5000",
                "vramplan search llama-3.1-8b --context 128k --kv-placement device,host",
                "vramplan search llama-3.1-405b --quality lossless -o csv"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_search(*options, session); };
  });
}

}  // namespace vramplan::cli
