#pragma once
// The card files as compiled in by cmake/EmbedCards.cmake; each table ends with a null name.
namespace vramplan {
struct EmbeddedCard {
  const char* name;
  const char* text;
};
extern const EmbeddedCard kModelCards[];
extern const EmbeddedCard kDeviceCards[];
}  // namespace vramplan
