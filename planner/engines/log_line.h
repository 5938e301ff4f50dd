#pragma once
// LogLine: a line of an engine's log as the engine wrote it, without what terminals, containers and
// log collectors add, and whose line it is.
#include <string>

namespace vramplan {

/// Without colour codes, carriage returns and, for a line that is a JSON object, all but its text
/// (fields log, message, msg). Codes that JSON spelled out (\u001b[0;36m) go, too.
std::string plain_line(const std::string& line);

/// Whether another worker than the first wrote the line, by its prefix: "(Worker_TP1 pid=7)",
/// "(EngineCore_DP1 pid=7)", "(VllmWorkerProcess pid=7)", "(VllmWorker rank=1 pid=7)",
/// "[2026-01-01 00:00:00 TP1]", "[RANK 1]", "[1,3]<stdout>". A line without one may be anyone's and
/// counts as the first worker's.
bool of_another_rank(const std::string& line);

}  // namespace vramplan
