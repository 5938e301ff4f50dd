#pragma once
// Flag value: what may stand behind one flag of an engine's table, and its plain form.
#include <cstdint>
#include <string>

#include "planner/engines/command.h"
#include "planner/engines/engine_table.h"

namespace vramplan {

/// Checks a value against its flag's type. Errors: kUsage naming the flag, with the plain number to
/// write where the value has a suffix ("32k") that this flag or this version does not take.
void check_flag_value(const EngineFlag& given, const TableFlag& flag, const EngineTable& table);

/// The value with its suffix worked out, as vLLM does: k m g t are powers of 1000 and take decimals
/// (cut to an integer), K M G T powers of 1024 and take none. Any other value is unchanged.
/// Source: vLLM engine/arg_utils.py and utils/argparse_utils.py, human_readable_int.
/// Example: plain_value("25.6k", f) is "25600", plain_value("32K", f) is "32768".
std::string plain_value(const std::string& value, const TableFlag& flag);

}  // namespace vramplan
