// devices: the device cards the program knows, or one of them with the source of every number.
#include <fmt/format.h>

#include "cli/cards_json.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/usage.h"
#include "modelcards/library.h"
#include "reports/listing.h"
#include "reports/text_table.h"

namespace vramplan::cli {
namespace {

/// The peak people compare: bf16, else f16, else f32.
std::string peak_text(const DeviceCard& card) {
  for (const char* dtype : {"bf16", "f16", "f32"}) {
    const auto found = card.flops_per_s.find(dtype);
    if (found != card.flops_per_s.end()) {
      return fmt::format("{:.4g} T {}", found->second.value / 1e12, dtype);
    }
  }
  return "-";
}

std::string overhead_text(const DeviceCard& card) {
  const std::int64_t bytes =
      card.kind == DeviceKind::kGpu
          ? card.context_bytes.value + card.module_bytes.value + card.workspace_bytes.value
          : card.process_base_bytes.value;
  return to_text(Bytes{bytes});
}

std::string table(const std::vector<DeviceCard>& cards) {
  TextTable text({{"name"},
                  {"capacity", true},
                  {"memory", true},
                  {"compute", true},
                  {"overhead", true, 1},
                  {"per node", true, 2},
                  {"usd/h", true, 3}},
                 text_options());
  for (const DeviceCard& card : cards) {
    const bool priced = !card.price_per_hour_usd.source.empty();
    text.add({card.name, to_text(Bytes{card.capacity_bytes.value}),
              fmt::format("{:.0f} GB/s", card.memory_bytes_per_s.value / 1e9), peak_text(card),
              overhead_text(card), std::to_string(card.devices_per_node.value),
              priced ? fmt::format("{:.2f}", card.price_per_hour_usd.value) : std::string("-")});
  }
  return text.render(0);
}

/// Empty where the card does not say: an absent number is not 0.
template <class T>
std::string cell(const Sourced<T>& number) {
  return number.source.empty() ? "" : fmt::format("{}", number.value);
}

const char* word(DeviceKind kind) {
  if (kind == DeviceKind::kCpu) return "cpu";
  return kind == DeviceKind::kSram ? "sram" : "gpu";
}

Listing listing(const std::vector<DeviceCard>& cards) {
  Listing out{"devices",
              {"name", "kind", "capacity_bytes", "memory_bytes_per_s", "bf16_flops_per_s",
               "fp8_flops_per_s", "multiprocessors", "devices_per_node", "price_per_hour_usd"},
              {}};
  for (const DeviceCard& card : cards) {
    const auto peak = [&](const char* dtype) {
      const auto found = card.flops_per_s.find(dtype);
      return found == card.flops_per_s.end() ? std::string() : cell(found->second);
    };
    out.rows.push_back({card.name, word(card.kind), cell(card.capacity_bytes),
                        cell(card.memory_bytes_per_s), peak("bf16"), peak("fp8"),
                        cell(card.multiprocessors), cell(card.devices_per_node),
                        cell(card.price_per_hour_usd)});
  }
  return out;
}

struct DevicesCommand {
  std::string name, format = "table";
  bool names_only = false;
};

std::string rendered(const std::vector<DeviceCard>& cards, const std::string& format) {
  if (format == "json") return devices_json(cards);
  if (format == "yaml") return listing_yaml(listing(cards));
  if (format == "csv") return listing_csv(listing(cards));
  if (format == "md") return listing_markdown(listing(cards));
  return table(cards);
}

int run_devices(const DevicesCommand& options, const Session& session) {
  const std::vector<std::string> all = device_card_names();
  std::vector<std::string> shown = all;
  if (!options.name.empty()) {
    shown = cards_like(options.name, all);
    if (shown.empty()) {
      const DeviceCard card = choose_device(options.name).card;
      print_result(session.json ? device_json(card) : write_device_card(card));
      return kExitFits;
    }
  }
  std::string names;
  std::vector<DeviceCard> cards;
  for (const auto& card_name : shown) {
    names += card_name + "\n";
    if (!options.names_only) cards.push_back(device_card(card_name));
  }
  print_result(options.names_only ? names
                                  : rendered(cards, session.json ? "json" : options.format));
  return kExitFits;
}

}  // namespace

void add_devices_command(CLI::App& app, Session& session) {
  auto options = std::make_shared<DevicesCommand>();
  CLI::App* command =
      app.add_subcommand("devices", "Lists the device cards, those of a product, or shows one");
  command->add_option("DEVICE", options->name,
                      "card name, the beginning of names, path of a card, or this-machine");
  command->add_flag("--json", session.json, "as JSON");
  add_list_format(*command, options->format);
  command->add_flag("--names", options->names_only, "names only, one a line");
  set_examples(*command, {"vramplan devices", "vramplan devices h100-sxm-80gb",
                          "vramplan devices h100 -o md"});
  command->callback([options, &session] {
    session.command = [options, &session] { return run_devices(*options, session); };
  });
}

}  // namespace vramplan::cli
