// Part of twin.h: the request as a plan keeps it.
#include "planner/engines/twin.h"

namespace vramplan {

EngineDecision engine_decision(const EngineRequest& request) {
  EngineDecision decision;
  static_cast<EngineFlags&>(decision) = request;
  decision.engine = name_of(request.id.kind);
  if (!request.id.version.empty()) decision.engine += "@" + request.id.version;
  return decision;
}

EngineRequest engine_request(const EngineDecision& decision) {
  EngineRequest request;
  static_cast<EngineFlags&>(request) = decision;
  request.id = parse_engine(decision.engine);
  return request;
}

}  // namespace vramplan
