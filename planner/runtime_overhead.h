#pragma once
// Runtime overhead: what a device and its process take besides tensors. The device card says how
// much of each; here is only which rows a kind of device has, and the size of a tokenizer's tables.
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_source.h"
#include "planner/ledger.h"

namespace vramplan {

/// Sizes of a vocabulary in memory on a 64-bit Linux with libstdc++; the one place they are written
/// down. The header keeps each text as a string object (32 bytes, and a heap block when it is 16
/// bytes or more); the tables made of it hold the texts in one blob with 11 bytes a token (offset,
/// type, 1.5 hash slots of 4) and 24 bytes a merge (1.5 hash slots of 16). `fixed_bytes` is the
/// code and library pages first touched then: measured as 7.00 to 7.09 MB resident for a file of
/// 49,152 tokens and 48,900 merges, whose tables are 5.48 MB by the rest of the formula and 5.54 MB
/// by the allocator.
struct TokenizerConstants {
  std::int64_t fixed_bytes = 3 << 19;
  std::int64_t bytes_per_token = 32 + 11;
  std::int64_t bytes_per_merge = 32 + 24;
  std::int64_t bytes_per_type = 4;     // an integer of the header
  std::int64_t bytes_per_score = 8;    // a float of the header and one of the table
  std::int64_t heap_block_bytes = 16;  // allocator's overhead and rounding of a long string
  std::int64_t short_text = 15;        // longest text kept inside the string object
};
inline constexpr TokenizerConstants kTokenizerConstants{};

/// What the vocabulary of a file holds, counted in its header.
struct TokenizerTables {
  std::int64_t tokens = 0, merges = 0, types = 0, scores = 0;
  std::int64_t token_text_bytes = 0;
  std::int64_t long_texts = 0;  // texts longer than fit a string object
  std::int64_t long_text_bytes = 0;
  std::int64_t draft_header_bytes = 0;  // texts of a draft's vocabulary, read and not made a table
  bool present() const { return tokens > 0; }
};
TokenizerTables tokenizer_tables(const ModelSource& source);
Bytes tokenizer_bytes(const TokenizerTables& tables);

/// Rows of one rank, in the order of planner/README.md; `ranks` decides whether there is a
/// communicator.
std::vector<LedgerRow> runtime_rows(const DeviceCard& device, const TokenizerTables& tables,
                                    int rank, int ranks);

/// "datasheet", "measured", "assumed".
const char* name_of(Evidence evidence);

}  // namespace vramplan
