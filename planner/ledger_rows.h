#pragma once
// LedgerRows: the account of every rank written out as rows, each with its arithmetic in words and
// numbers.
#include "planner/account.h"

namespace vramplan {

/// Rows of all ranks in the order of planner/README.md.
Ledger predicted_ledger(const std::vector<StageAccount>& stages, const Decisions& decisions,
                        const DeviceCard& device, const TokenizerTables& tables, bool from_file);

}  // namespace vramplan
