#pragma once
// RequestsHeld: how many requests an engine's cache has room for while they run.
#include "planner/engines/forecast.h"

namespace vramplan {

/// Requests of `tokens` tokens that the cache of an attention group holds. With pools by window
/// (--max-attention-window) the one that is full first decides: a pool for a window holds as many
/// requests as the pools were made for, however short they are.
double requests_held(const EngineForecast& forecast, double tokens);

}  // namespace vramplan
