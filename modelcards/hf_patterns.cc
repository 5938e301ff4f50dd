#include "modelcards/hf_patterns.h"

#include <array>
#include <regex>

namespace vramplan {
namespace {

struct ModuleName {
  const char* hf;     // within a layer
  const char* tensor;
};

// The matrices of a layer that a packed format reaches. A module may be spelled in several ways.
constexpr std::array kModules = {
    ModuleName{"self_attn.q_proj", "attn_q.weight"},
    ModuleName{"self_attn.k_proj", "attn_k.weight"},
    ModuleName{"self_attn.v_proj", "attn_v.weight"},
    ModuleName{"self_attn.o_proj", "attn_output.weight"},
    ModuleName{"self_attn.q_a_proj", "attn_q_a.weight"},
    ModuleName{"self_attn.q_b_proj", "attn_q_b.weight"},
    ModuleName{"self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa.weight"},
    ModuleName{"self_attn.kv_b_proj", "attn_kv_b.weight"},
    ModuleName{"mlp.gate_proj", "ffn_gate.weight"},
    ModuleName{"mlp.up_proj", "ffn_up.weight"},
    ModuleName{"mlp.down_proj", "ffn_down.weight"},
    ModuleName{"mlp.shared_experts.gate_proj", "ffn_gate_shexp.weight"},
    ModuleName{"mlp.shared_experts.up_proj", "ffn_up_shexp.weight"},
    ModuleName{"mlp.shared_experts.down_proj", "ffn_down_shexp.weight"},
    ModuleName{"mlp.shared_expert.gate_proj", "ffn_gate_shexp.weight"},
    ModuleName{"mlp.shared_expert.up_proj", "ffn_up_shexp.weight"},
    ModuleName{"mlp.shared_expert.down_proj", "ffn_down_shexp.weight"},
    ModuleName{"mlp.experts.0.gate_proj", "ffn_gate_exps.weight"},
    ModuleName{"mlp.experts.0.up_proj", "ffn_up_exps.weight"},
    ModuleName{"mlp.experts.0.down_proj", "ffn_down_exps.weight"},
    ModuleName{"linear_attn.in_proj_qkvz", "ssm_in.weight"},
    ModuleName{"linear_attn.in_proj_ba", "ssm_ba.weight"},
    ModuleName{"linear_attn.out_proj", "ssm_out.weight"},
    ModuleName{"mixer.in_proj", "ssm_in.weight"},
    ModuleName{"mixer.out_proj", "ssm_out.weight"},
};

bool glob(const std::string& pattern, const std::string& text) {
  std::size_t p = 0, t = 0, star = std::string::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string layer_module(std::size_t layer, const char* module) {
  return "model.layers." + std::to_string(layer) + "." + module;
}

}  // namespace

bool matches_module(const std::string& pattern, const std::string& module) {
  if (pattern.empty() || pattern.size() > 1000) return false;
  if (pattern.rfind("re:", 0) == 0) {
    try {
      return std::regex_match(module, std::regex(pattern.substr(3)));
    } catch (const std::regex_error&) {
      return false;
    }
  }
  if (pattern.find('*') != std::string::npos) return glob(pattern, module) || glob("*" + pattern, module);
  const std::size_t at = module.find(pattern);
  if (at == std::string::npos) return false;
  // Whole parts of the name: layers.1 does not mean layers.10.
  const std::size_t end = at + pattern.size();
  const bool starts = at == 0 || module[at - 1] == '.' || pattern[0] == '.';
  return starts && (end == module.size() || module[end] == '.' || pattern.back() == '.');
}

std::string unpacked_fragments(const std::vector<std::string>& patterns, const ModelCard& card) {
  std::string out;
  for (const ModuleName& name : kModules) {
    std::vector<std::size_t> hits;
    for (std::size_t i = 0; i < card.layers.size(); ++i) {
      const std::string module = layer_module(i, name.hf);
      for (const std::string& pattern : patterns) {
        if (!matches_module(pattern, module)) continue;
        hits.push_back(i);
        break;
      }
    }
    const auto add = [&](const std::string& text) { out += (out.empty() ? "" : " ") + text; };
    if (hits.size() == card.layers.size()) {
      add(name.tensor);
    } else {
      for (const std::size_t i : hits) add("blk." + std::to_string(i) + "." + name.tensor);
    }
  }
  return out;
}

}  // namespace vramplan
