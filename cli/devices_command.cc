// devices: the device cards the program knows, or one of them with the source of every number.
#include <fmt/format.h>

#include "cli/cards_json.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/usage.h"
#include "modelcards/library.h"
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

int run_devices(const std::string& name, bool names_only, const Session& session) {
  if (!name.empty()) {
    const DeviceCard card = choose_device(name).card;
    print_result(session.json ? device_json(card) : write_device_card(card));
    return kExitFits;
  }
  std::string names;
  std::vector<DeviceCard> cards;
  for (const auto& card_name : device_card_names()) {
    names += card_name + "\n";
    if (!names_only) cards.push_back(device_card(card_name));
  }
  print_result(names_only ? names : session.json ? devices_json(cards) : table(cards));
  return kExitFits;
}

}  // namespace

void add_devices_command(CLI::App& app, Session& session) {
  auto name = std::make_shared<std::string>();
  auto names_only = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("devices", "Lists the device cards, or shows one");
  command->add_option("DEVICE", *name, "card name, path of a card, or this-machine");
  command->add_flag("--json", session.json, "as JSON");
  command->add_flag("--names", *names_only, "names only, one a line");
  set_examples(*command, {"vramplan devices", "vramplan devices h100-sxm-80gb",
                          "vramplan devices this-machine --json"});
  command->callback([name, names_only, &session] {
    session.command = [name, names_only, &session] {
      return run_devices(*name, *names_only, session);
    };
  });
}

}  // namespace vramplan::cli
