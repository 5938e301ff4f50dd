#pragma once
// Runtime overhead: what a device and its process take besides tensors. The device card says how much of
// each; here is only which rows a kind of device has, and the size of a tokenizer's tables.
#include <vector>

#include "modelcards/device_card.h"
#include "modelcards/model_source.h"
#include "planner/ledger.h"

namespace vramplan {

/// Sizes of the tokenizer's tables on a 64-bit Linux with libstdc++; the one place they are written down.
/// A string object is 32 bytes and text of 16 bytes or more adds a heap block; a hash-table entry holds its
/// node, key and bucket pointer. They describe the header kept by the reader plus the tables built from it.
struct TokenizerConstants {
  std::int64_t bytes_per_token = 32 + 32 + 80;   // string in the header, piece, entry text -> id
  std::int64_t bytes_per_merge = 32 + 96;        // string in the header, entry pair -> rank
  std::int64_t bytes_per_type = 8;               // token type, one integer
  std::int64_t heap_block_bytes = 16;            // allocator's overhead and rounding of a long string
  std::int64_t short_text = 15;                  // longest text kept inside the string object
};
inline constexpr TokenizerConstants kTokenizerConstants{};

/// What a tokenizer's tables hold, counted in the file's header.
struct TokenizerTables {
  std::int64_t tokens = 0, merges = 0, types = 0;
  std::int64_t long_texts = 0;        // texts longer than fit a string object
  std::int64_t long_text_bytes = 0;
  bool present() const { return tokens > 0; }
};
TokenizerTables tokenizer_tables(const ModelSource& source);
Bytes tokenizer_bytes(const TokenizerTables& tables);

/// Rows of one rank, in the order of planner/README.md; `ranks` decides whether there is a communicator.
std::vector<LedgerRow> runtime_rows(const DeviceCard& device, const TokenizerTables& tables, int rank,
                                    int ranks);

/// "datasheet", "measured", "assumed".
const char* name_of(Evidence evidence);

}  // namespace vramplan
