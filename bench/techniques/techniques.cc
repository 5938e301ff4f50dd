// What each technique saves and what it costs, on a real model, predicted and observed: writes the
// tables of a README, each part between its markers.
//
//   techniques MODEL.gguf TEXT.txt README.md [DEVICE] [--only PART]...
//
// Bytes and times are those of a run on the cpu backend beside its plan for DEVICE (a card's name
// or file).
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bench/techniques/page.h"
#include "executor/clock.h"
#include "executor/environment.h"

namespace vramplan {
namespace {

struct Part {
  const char* name;
  void (*write)(const Setting&, Page&);
};

constexpr Part kParts[] = {{"cache", cache_tables},
                           {"long", long_tables},
                           {"mix", mix_tables},
                           {"weights", weight_tables},
                           {"sharing", sharing_tables},
                           {"layout", layout_tables},
                           {"placement", placement_tables},
                           {"preemption", preemption_tables},
                           {"replicas", replica_tables},
                           {"guesses", guess_tables},
                           {"times", time_tables},
                           {"far", far_tables}};

std::string marker(const std::string& part, const char* where) {
  return "<!-- written by the program techniques, part " + part + ": " + where + " -->";
}

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Puts `tables` between the markers of a part. Errors: kUsage when the page has none.
void put(std::string& page, const std::string& path, const std::string& part,
         const std::string& tables) {
  const std::string first = marker(part, "begin"), last = marker(part, "end");
  const std::size_t begin = page.find(first), end = page.find(last);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw Error(ErrorCode::kUsage, path + " has no place for the part " + part)
        .help("add the lines " + first + " and " + last);
  }
  page.replace(begin, end - begin, first + "\n\n" + tables + "\n");
}

struct Asked {
  std::string model, text, readme, device = "cpu-generic";
  std::vector<std::string> only;
};

Asked asked_of(int argc, char** argv) {
  Asked asked;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word != "--only") {
      names.push_back(word);
      continue;
    }
    if (++i == argc) throw Error(ErrorCode::kUsage, "--only needs the name of a part");
    asked.only.emplace_back(argv[i]);
  }
  for (const std::string& name : asked.only) {
    const bool known = std::any_of(std::begin(kParts), std::end(kParts),
                                   [&](const Part& part) { return name == part.name; });
    if (known) continue;
    std::string all;
    for (const Part& part : kParts) all += std::string(" ") + part.name;
    throw Error(ErrorCode::kUsage, "'" + name + "' is no part").help("one of" + all);
  }
  if (names.size() < 3 || names.size() > 4) {
    throw Error(ErrorCode::kUsage,
                "usage: techniques MODEL.gguf TEXT README.md [DEVICE] [--only PART]...");
  }
  asked.model = names[0];
  asked.text = names[1];
  asked.readme = names[2];
  if (names.size() > 3) asked.device = names[3];
  return asked;
}

void run(const Asked& asked) {
  const SteadyClock clock;
  const Setting setting(asked.model, asked.text, asked.device);
  const Environment machine = this_environment("cpu", 2);
  for (const Part& part : kParts) {
    const bool wanted = asked.only.empty() || std::find(asked.only.begin(), asked.only.end(),
                                                        part.name) != asked.only.end();
    if (!wanted) continue;
    const Seconds begin = clock.now();
    Page page;
    part.write(setting, page);
    page.line("\n{}; plan for {}; {}, commit {}, {}; {:.0f} s.", setting.source.card.name,
              setting.device.name, machine.cpu, machine.commit, machine.time_utc,
              (clock.now() - begin).v);
    std::string text = read_all(asked.readme);
    put(text, asked.readme, part.name, page.take());
    std::ofstream(asked.readme, std::ios::binary) << text;
  }
}

}  // namespace
}  // namespace vramplan

int main(int argc, char** argv) {
  try {
    vramplan::run(vramplan::asked_of(argc, argv));
  } catch (const vramplan::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return vramplan::exit_code(error.code());
  }
  return 0;
}
