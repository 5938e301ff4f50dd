#include "planner/engines/container.h"

#include <fmt/format.h>

#include <functional>
#include <optional>

#include "planner/engines/command.h"
#include "planner/engines/shell_variables.h"

namespace vramplan {
namespace {

std::string marked(const std::string& text) { return kUnknownMark + text + kUnknownMark; }

std::vector<std::string> joined(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Words that start what an image starts by itself.
std::vector<std::string> started_by(const std::string& image) {
  if (image.find("vllm") != std::string::npos) return {"vllm", "serve"};
  if (image.find("llama.cpp") != std::string::npos && image.find("server") != std::string::npos) {
    return {"llama-server"};
  }
  return {};
}

/// One of several candidates, or why there is none.
class Choice {
 public:
  void add(const YamlNode& node, const std::function<ContainerStart()>& read) {
    try {
      ContainerStart start = read();
      if (start.step.words.empty()) return;
      if (chosen_) node.fail("more than one container starts an engine", "give the one to predict");
      chosen_ = std::move(start);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kBadYaml) throw;
      if (!refused_) refused_ = error;
    }
  }
  ContainerStart take() {
    if (chosen_) return std::move(*chosen_);
    if (refused_) throw *refused_;
    return {};
  }

 private:
  std::optional<ContainerStart> chosen_;
  std::optional<Error> refused_;
};

/// Files that volumes of ConfigMaps put into a container.
std::map<std::string, std::string> files_of(const YamlNode& pod, const YamlNode& container,
                                            const ConfigMaps& maps) {
  std::map<std::string, std::string> files;
  if (!pod.has("volumes") || !container.has("volumeMounts")) return files;
  const YamlNode mounts = container.at("volumeMounts"), volumes = pod.at("volumes");
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    const YamlNode mount = mounts.at(i);
    for (std::size_t k = 0; k < volumes.size(); ++k) {
      const YamlNode volume = volumes.at(k);
      const bool same = volume.at("name").text() == mount.at("name").text();
      if (!same || !volume.has("configMap")) continue;
      const YamlNode source = volume.at("configMap");
      const auto map = maps.find(source.text_or("name", ""));
      if (map == maps.end()) continue;
      std::map<std::string, std::string> paths;  // path in the volume, and key
      for (const auto& [key, text] : map->second) paths[key] = key;
      if (source.has("items")) {
        paths.clear();
        for (std::size_t n = 0; n < source.at("items").size(); ++n) {
          const YamlNode item = source.at("items").at(n);
          paths[item.at("path").text()] = item.at("key").text();
        }
      }
      const std::string where = mount.at("mountPath").text(), sub = mount.text_or("subPath", "");
      for (const auto& [path, key] : paths) {
        const auto text = map->second.find(key);
        if (text == map->second.end() || (!sub.empty() && sub != path)) continue;
        files[sub.empty() ? where + (where.ends_with("/") ? "" : "/") + path : where] =
            text->second;
      }
    }
  }
  return files;
}

ContainerStart start_of_container(const YamlNode& pod, const YamlNode& container,
                                  const ConfigMaps& maps, const Variables& given) {
  ContainerStart start;
  const Variables environment = environment_of(container, maps, given);
  const std::string image = container.text_or("image", "");
  std::vector<std::string> words =
      joined(words_at(container, "command"), words_at(container, "args"));
  words = filled_by_kubelet(std::move(words), environment);
  if (!container.has("command") && !starts_engine(words)) {
    const std::vector<std::string> starting = started_by(image);
    if (starting.empty()) return start;
    words.insert(words.begin(), starting.begin(), starting.end());
  }
  if (words.empty()) return start;
  start.step = engine_step(words, environment);
  start.version = engine_version_of(image);
  start.files = files_of(pod, container, maps);
  return start;
}

Variables compose_environment(const YamlNode& service) {
  Variables out;
  if (!service.has("environment")) return out;
  const YamlNode all = service.at("environment");
  const auto set = [&](const std::string& name, const std::string& value) {
    out[name] = filled_by_compose(value, {});
  };
  if (all.is_map()) {
    for (const std::string& name : all.keys()) {
      if (all.at(name).is_scalar()) set(name, all.at(name).text());
    }
    return out;
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string word = all.at(i).text();
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) set(word.substr(0, equals), word.substr(equals + 1));
    if (equals == std::string::npos) out[word] = marked("$" + word);  // of the caller's shell
  }
  return out;
}

/// Files of "configs:" with their content in the compose file itself.
std::map<std::string, std::string> compose_files(const YamlNode& root, const YamlNode& service) {
  std::map<std::string, std::string> files;
  if (!root.has("configs") || !service.has("configs")) return files;
  const YamlNode uses = service.at("configs");
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const YamlNode use = uses.at(i);
    const std::string name = use.is_scalar() ? use.text() : use.at("source").text();
    const std::string target = use.is_scalar() ? "/" + name : use.text_or("target", "/" + name);
    const YamlNode config = root.at("configs").at(name);
    if (config.has("content")) files[target] = filled_by_compose(config.at("content").text(), {});
  }
  return files;
}

ContainerStart start_of_service(const YamlNode& root, const YamlNode& service) {
  ContainerStart start;
  const Variables environment = compose_environment(service);
  const std::string image = filled_by_compose(service.text_or("image", ""), {});
  std::vector<std::string> words =
      joined(words_at(service, "entrypoint"), words_at(service, "command"));
  for (std::string& word : words) word = filled_by_compose(word, {});
  if (!service.has("entrypoint") && !starts_engine(words)) {
    const std::vector<std::string> starting = started_by(image);
    words.insert(words.begin(), starting.begin(), starting.end());
  }
  if (words.empty()) return start;
  start.step = engine_step(words, environment);
  start.version = engine_version_of(image);
  start.files = compose_files(root, service);
  return start;
}

}  // namespace

std::vector<std::string> words_at(const YamlNode& node, const char* key) {
  if (!node.has(key)) return {};
  const YamlNode list = node.at(key);
  if (list.is_scalar()) return shell_words(list.text());
  std::vector<std::string> words;
  for (std::size_t i = 0; i < list.size(); ++i) words.push_back(list.at(i).text());
  return words;
}

Variables environment_of(const YamlNode& container, const ConfigMaps& maps, Variables known) {
  const auto entry = [&](const YamlNode& reference) -> const std::string* {
    const auto map = maps.find(reference.text_or("name", ""));
    if (map == maps.end()) return nullptr;
    const auto key = map->second.find(reference.text_or("key", ""));
    return key == map->second.end() ? nullptr : &key->second;
  };
  if (container.has("envFrom")) {
    const YamlNode sources = container.at("envFrom");
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (!sources.at(i).has("configMapRef")) continue;
      const auto map = maps.find(sources.at(i).at("configMapRef").text_or("name", ""));
      if (map == maps.end()) continue;
      const std::string prefix = sources.at(i).text_or("prefix", "");
      for (const auto& [key, text] : map->second) known[prefix + key] = text;
    }
  }
  if (!container.has("env")) return known;
  const YamlNode list = container.at("env");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string name = list.at(i).at("name").text();
    if (list.at(i).has("value")) {
      known[name] = filled_by_kubelet(list.at(i).at("value").text(), known, false);
      if (known[name].size() > kMostFilled) list.at(i).fail("a value of more than 4 MiB");
      continue;
    }
    const bool from = list.at(i).has("valueFrom");
    const bool mapped = from && list.at(i).at("valueFrom").has("configMapKeyRef");
    const std::string* text =
        mapped ? entry(list.at(i).at("valueFrom").at("configMapKeyRef")) : nullptr;
    known.erase(name);
    if (text != nullptr) known[name] = *text;
    if (text == nullptr && !from) known[name] = "";
  }
  return known;
}

std::string engine_version_of(const std::string& image) {
  const std::size_t colon = image.rfind(':');
  if (colon == std::string::npos) return "";
  const std::string repository = image.substr(0, colon), tag = image.substr(colon + 1);
  if (repository.ends_with("ggml-org/llama.cpp")) {
    const std::size_t build = tag.rfind("-b");
    const std::string number = build == std::string::npos ? "" : tag.substr(build + 2);
    const bool digits = number.find_first_not_of("0123456789") == std::string::npos;
    return number.empty() || !digits ? "" : "b" + number;
  }
  const bool published = repository.ends_with("vllm/vllm-openai") ||
                         repository.ends_with("lmsysorg/sglang") ||
                         repository.ends_with("tensorrt-llm/release");
  const std::string text = tag.substr(tag.rfind("v", 0) == 0 ? 1 : 0);
  const std::string number = text.substr(0, text.find('-'));
  const bool release = !number.empty() && number.front() >= '0' && number.front() <= '9' &&
                       number.find('.') != std::string::npos;
  return published && release ? number : "";
}

ContainerStart start_of_pod(const YamlNode& spec, const ConfigMaps& maps, const Variables& given) {
  Choice choice;
  const YamlNode containers = spec.at("containers");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const YamlNode container = containers.at(i);
    choice.add(container, [&] { return start_of_container(spec, container, maps, given); });
  }
  return choice.take();
}

ContainerStart start_of_compose(const YamlNode& root) {
  Choice choice;
  const YamlNode services = root.at("services");
  for (const std::string& name : services.keys()) {
    const YamlNode service = services.at(name);
    choice.add(service, [&] { return start_of_service(root, service); });
  }
  return choice.take();
}

}  // namespace vramplan
