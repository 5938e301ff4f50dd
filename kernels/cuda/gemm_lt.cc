#include "kernels/cuda/gemm_lt.h"

#if VRAMPLAN_CUDA && __has_include(<cublasLt.h>)
#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <tuple>

namespace vramplan::cuda {
namespace {

#define VRAMPLAN_TEXT_OF(x) #x
#define VRAMPLAN_TEXT(x) VRAMPLAN_TEXT_OF(x)
constexpr const char* kLibrary = "libcublasLt.so." VRAMPLAN_TEXT(CUBLAS_VER_MAJOR);

/// The entry points used; the types come from the header, so a changed signature does not build.
struct Library {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
};

void* open_library() {
  void* handle = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
#ifdef VRAMPLAN_CUDA_LIBRARY_DIR
  // The toolkit this program was built with.
  if (handle == nullptr) {
    handle = dlopen((std::string(VRAMPLAN_CUDA_LIBRARY_DIR "/") + kLibrary).c_str(),
                    RTLD_NOW | RTLD_LOCAL);
  }
#endif
  if (handle == nullptr) {
    throw Error(ErrorCode::kUnsupported, std::string("no matrix products without ") + kLibrary)
        .help("install cuBLAS of the CUDA toolkit, or name its folder in LD_LIBRARY_PATH");
  }
  return handle;
}

template <class Function>
void find(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function != nullptr) return;
  throw Error(ErrorCode::kUnsupported, std::string(kLibrary) + " has no " + name);
}

Library load() {
  void* const handle = open_library();  // stays open: its kernels are in use until the end
  Library l;
  find(handle, "cublasLtCreate", l.create);
  find(handle, "cublasLtDestroy", l.destroy);
  find(handle, "cublasLtMatmul", l.matmul);
  find(handle, "cublasLtMatmulDescCreate", l.desc_create);
  find(handle, "cublasLtMatmulDescDestroy", l.desc_destroy);
  find(handle, "cublasLtMatmulDescSetAttribute", l.desc_set);
  find(handle, "cublasLtMatrixLayoutCreate", l.layout_create);
  find(handle, "cublasLtMatrixLayoutDestroy", l.layout_destroy);
  find(handle, "cublasLtMatmulPreferenceCreate", l.preference_create);
  find(handle, "cublasLtMatmulPreferenceDestroy", l.preference_destroy);
  find(handle, "cublasLtMatmulPreferenceSetAttribute", l.preference_set);
  find(handle, "cublasLtMatmulAlgoGetHeuristic", l.heuristic);
  return l;
}

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  if (status == CUBLAS_STATUS_ALLOC_FAILED) call_failed(call, Status::kOutOfMemory, "");
  throw Error(ErrorCode::kIo, std::string(call) + " failed with cuBLAS status " +
                                  std::to_string(static_cast<int>(status)));
}

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return CUDA_R_32F;
    case DType::kF16:
      return CUDA_R_16F;
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF8E4M3:
      return CUDA_R_8F_E4M3;
    default:
      break;
  }
  throw Error(ErrorCode::kUnsupported, std::string("a matrix product of ") + info(dtype).name);
}

/// Bytes that divide an address, up to the 256 that cuBLASLt supposes unless it is told.
std::uint32_t alignment_of(const TensorView& view) {
  const auto address = reinterpret_cast<std::uintptr_t>(view.data);
  return address % 256 == 0 ? 256 : static_cast<std::uint32_t>(address & (~address + 1));
}

struct Shape {
  std::int64_t tokens, in, out, out_stride;
  DType type, out_type;
  std::int64_t workspace;
  std::uint32_t weight_alignment, in_alignment, out_alignment;
  auto operator<=>(const Shape&) const = default;
};

/// What cuBLASLt asks of fp8 operands (its table of supported types): K-major both, sizes and
/// addresses in units of 16 bytes, a wider output.
void check_fp8(const Gemm& call) {
  const auto aligned = [](const TensorView& t) {
    return reinterpret_cast<std::uintptr_t>(t.data) % 16 == 0;
  };
  VRAMPLAN_CHECK(call.in_scales != nullptr && call.weight_scales != nullptr);
  const bool shape = call.in.columns % 16 == 0 && call.weight.rows % 16 == 0 &&
                     call.out_stride % 16 == 0 && aligned(call.in) && aligned(call.weight) &&
                     aligned(call.out);
  if (shape && call.out.dtype != DType::kF8E4M3) return;
  throw Error(ErrorCode::kUnsupported, "an fp8 product of " + std::to_string(call.weight.rows) +
                                           " x " + std::to_string(call.in.columns) + " into " +
                                           info(call.out.dtype).name)
      .help("rows and outputs must be multiples of 16, addresses too, and the output wider");
}

/// Everything about a product but its addresses.
struct Prepared {
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t weight = nullptr, in = nullptr, out = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
};

class RealGemmLt final : public GemmLt {
 public:
  RealGemmLt() : library_(load()) { check(library_.create(&handle_), "cublasLtCreate"); }
  ~RealGemmLt() override {
    for (auto& [shape, p] : prepared_) {
      library_.layout_destroy(p.weight);
      library_.layout_destroy(p.in);
      library_.layout_destroy(p.out);
      library_.desc_destroy(p.desc);
    }
    library_.destroy(handle_);
  }

  void run(Stream stream, const Gemm& call) override {
    VRAMPLAN_CHECK(call.in.dtype == call.weight.dtype && call.in.columns == call.weight.columns);
    VRAMPLAN_CHECK(call.out.rows == call.in.rows && call.out.columns == call.weight.rows);
    const Shape shape{call.in.rows,
                      call.in.columns,
                      call.weight.rows,
                      call.out_stride,
                      call.in.dtype,
                      call.out.dtype,
                      call.workspace.bytes().n,
                      alignment_of(call.weight),
                      alignment_of(call.in),
                      alignment_of(call.out)};
    const bool fp8 = call.in.dtype == DType::kF8E4M3;
    if (fp8) check_fp8(call);
    const auto found = prepared_.find(shape);
    const Prepared& p = found != prepared_.end() ? found->second : prepare(shape, call);
    if (fp8) set_scales(p.desc, call);
    const float one = 1, zero = 0;
    check(library_.matmul(handle_, p.desc, &one, call.weight.data, p.weight, call.in.data, p.in,
                          &zero, call.out.data, p.out, call.out.data, p.out, &p.algorithm,
                          call.workspace.data, static_cast<std::size_t>(shape.workspace),
                          static_cast<cudaStream_t>(stream.handle)),
          "cublasLtMatmul");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t name, const T& value) {
    check(library_.desc_set(desc, name, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }

  /// A is the weight, B the input: a factor a row of each.
  void set_scales(cublasLtMatmulDesc_t desc, const Gemm& call) {
    set(desc, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, static_cast<const void*>(call.weight_scales));
    set(desc, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, static_cast<const void*>(call.in_scales));
  }

  /// Before the algorithm is chosen, which depends on there being scales. Sums stay in the tensor
  /// cores' own accumulators.
  void prepare_fp8(cublasLtMatmulDesc_t desc, const Gemm& call) {
#if CUBLAS_VERSION >= 120900
    const std::int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    set(desc, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
    set(desc, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
    set(desc, CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{1});
    set_scales(desc, call);
#else
    static_cast<void>(desc), static_cast<void>(call);
    throw Error(ErrorCode::kUnsupported, "fp8 products with a scale a row before CUDA 12.9");
#endif
  }

  /// Row-major [rows, n] is column-major [n, rows]: out^T = (weight^T)^T * in^T.
  Prepared& prepare(const Shape& shape, const Gemm& call) {
    Prepared p;
    const auto unsigned_of = [](std::int64_t n) { return static_cast<std::uint64_t>(n); };
    check(library_.desc_create(&p.desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    set(p.desc, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    if (shape.type == DType::kF8E4M3) prepare_fp8(p.desc, call);
    const auto layout = [&](cublasLtMatrixLayout_t& into, DType type, std::int64_t rows,
                            std::int64_t columns, std::int64_t stride) {
      check(library_.layout_create(&into, data_type(type), unsigned_of(rows), unsigned_of(columns),
                                   stride),
            "cublasLtMatrixLayoutCreate");
    };
    layout(p.weight, shape.type, shape.in, shape.out, shape.in);
    layout(p.in, shape.type, shape.in, shape.tokens, shape.in);
    layout(p.out, shape.out_type, shape.out, shape.tokens, shape.out_stride);
    p.algorithm = choose(shape, p);
    return prepared_.emplace(shape, p).first->second;
  }

  /// The first algorithm cuBLASLt names for this workspace and these alignments.
  cublasLtMatmulAlgo_t choose(const Shape& shape, const Prepared& p) {
    cublasLtMatmulPreference_t preference = nullptr;
    check(library_.preference_create(&preference), "cublasLtMatmulPreferenceCreate");
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t name, const auto& value) {
      check(library_.preference_set(preference, name, &value, sizeof value),
            "cublasLtMatmulPreferenceSetAttribute");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<std::size_t>(shape.workspace));
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.weight_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.in_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.out_alignment);
    prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.out_alignment);
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    const cublasStatus_t status = library_.heuristic(handle_, p.desc, p.weight, p.in, p.out, p.out,
                                                     preference, 1, &result, &count);
    library_.preference_destroy(preference);
    if (status == CUBLAS_STATUS_SUCCESS && count > 0) return result.algo;
    throw Error(ErrorCode::kUnsupported,
                "cuBLASLt has no algorithm for " + std::to_string(shape.tokens) + " x " +
                    std::to_string(shape.in) + " x " + std::to_string(shape.out) + " of " +
                    info(shape.type).name + " (status " + std::to_string(static_cast<int>(status)) +
                    ")");
  }

  Library library_;
  cublasLtHandle_t handle_ = nullptr;
  std::map<Shape, Prepared> prepared_;
};

}  // namespace

std::unique_ptr<GemmLt> make_gemm_lt() { return std::make_unique<RealGemmLt>(); }

}  // namespace vramplan::cuda

#else

namespace vramplan::cuda {

std::unique_ptr<GemmLt> make_gemm_lt() {
  throw Error(ErrorCode::kUnsupported, "this build has no cuBLASLt")
      .help("configure again with a CUDA toolkit that has cublasLt.h");
}

}  // namespace vramplan::cuda

#endif
