#pragma once
// The seam to what only sm_90a has, in dev:: as the rest of dev.h: warpgroup tensor cores (wgmma),
// boxes copied by the tensor memory accelerator, barriers that count bytes (mbarrier), barriers of
// a part of a block. Kernels that use it ask dev::kWarpgroups first: other devices compile nothing.
#include "kernels/cuda/dev.h"
#include "kernels/cuda/warpgroup_layout.h"

#if defined(__CUDACC__)
#include "kernels/cuda/warpgroup_nvcc.h"
#else
#include "simt_warpgroup.h"
#endif
