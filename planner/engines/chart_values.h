#pragma once
// Chart values: the values files of Helm charts that start vLLM, as the words their templates would
// write. Read by name: vllm production-stack, llm-d modelservice, and the chart of vLLM's own
// documentation; anything else is refused.
#include "planner/engines/container.h"

namespace vramplan {

enum class ChartKind { kNone, kProductionStack, kModelService, kVllmChart };
ChartKind chart_kind(const YamlNode& root);

/// Errors: kBadYaml for a missing value, naming it; kUnsupported for parts whose memory no twin
/// models (a ray cluster, LMCache, several models at once) and templates other than
/// {{ .Values.modelArtifacts.name }}.
ContainerStart start_of_chart(ChartKind kind, const YamlNode& root);

}  // namespace vramplan
