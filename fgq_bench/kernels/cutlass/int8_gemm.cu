// One tile of the int8 linear on Hopper: (int8 [m, k]) x (int8 [n, k])^T -> int32 sums, times a scale per channel and a
// scale per token, plus bias, rounded once. Compiled once per variant (variants.py) with these macros:
//   FGQ_NAME                     the exported function
//   FGQ_TOKENS, FGQ_CHANNELS     the tile of one consumer warpgroup
//   FGQ_CLUSTER                  thread blocks along the tokens that share the weight's tile by multicast
//   FGQ_OUTPUT                   element type of the output
#include "cutlass/cutlass.h"
#include "cutlass/epilogue/collective/collective_builder.hpp"
#include "cutlass/epilogue/fusion/sm90_callbacks_tma_warpspecialized.hpp"
#include "cutlass/gemm/collective/collective_builder.hpp"
#include "cutlass/gemm/device/gemm_universal_adapter.h"
#include "cutlass/gemm/kernel/gemm_universal.hpp"

namespace {

using namespace cute;
namespace collective = cutlass::gemm::collective;
namespace fusion = cutlass::epilogue::fusion;

using Output = FGQ_OUTPUT;
using Tile = Shape<Int<FGQ_TOKENS>, Int<FGQ_CHANNELS>, _128>;
using Cluster = Shape<Int<FGQ_CLUSTER>, _1, _1>;
using Arch = cutlass::arch::Sm90;
using Unit = cutlass::arch::OpClassTensorOp;
using Rows = cutlass::layout::RowMajor;
using Columns = cutlass::layout::ColumnMajor;
constexpr int kOutputAlignment = 16 / sizeof(Output);
constexpr auto kRounding = cutlass::FloatRoundStyle::round_to_nearest;

// y = (sums * channel) * token + bias, in the order of the reference; a missing bias counts as 0.
using PerToken = fusion::Sm90ColBroadcast<0, Tile, float, float, Stride<_1, _0, _0>>;
using PerChannel = fusion::Sm90RowBroadcast<0, Tile, float, float, Stride<_0, _1, _0>>;
template <template <class> class Operation, class Result>
using Compute = fusion::Sm90Compute<Operation, Result, float, kRounding>;
using ByChannel = fusion::Sm90EVT<Compute<cutlass::multiplies, float>, PerChannel, fusion::Sm90AccFetch>;
using ByToken = fusion::Sm90EVT<Compute<cutlass::multiplies, float>, PerToken, ByChannel>;
using Biased = fusion::Sm90EVT<Compute<cutlass::plus, Output>, ByToken, PerChannel>;

using Epilogue = typename cutlass::epilogue::collective::CollectiveBuilder<
    Arch, Unit, Tile, Cluster, cutlass::epilogue::collective::EpilogueTileAuto, int32_t, float, void, Rows,
    kOutputAlignment, Output, Rows, kOutputAlignment, cutlass::epilogue::TmaWarpSpecialized, Biased>::CollectiveOp;
// Ping-pong: one warpgroup multiplies its tile while the other writes its own.
using Mainloop = typename collective::CollectiveBuilder<
    Arch, Unit, int8_t, Rows, 16, int8_t, Columns, 16, int32_t, Tile, Cluster,
    collective::StageCountAutoCarveout<static_cast<int>(sizeof(typename Epilogue::SharedStorage))>,
    cutlass::gemm::KernelTmaWarpSpecializedPingpong>::CollectiveOp;
using Kernel = cutlass::gemm::kernel::GemmUniversal<Shape<int, int, int, int>, Mainloop, Epilogue>;
using Gemm = cutlass::gemm::device::GemmUniversalAdapter<Kernel>;

}  // namespace

// Queues the product on `stream` and returns 0, or says by another number what refused it; it never waits.
// codes [m, k], weight [n, k], out [m, n] contiguous; token [m], channel [n], bias [n] or null. `swizzle` tiles of tokens
// are walked per pass over the channels.
extern "C" __attribute__((visibility("default"))) int FGQ_NAME(const int8_t* codes, const int8_t* weight, void* out, const float* token, const float* channel,
                        const float* bias, int m, int n, int k, int processors, int swizzle, void* stream) {
  typename Kernel::StrideA by_token{k, _1{}, int64_t{0}};
  typename Kernel::StrideB by_channel{k, _1{}, int64_t{0}};
  typename Kernel::StrideD by_output{n, _1{}, int64_t{0}};
  typename Gemm::Arguments arguments{
      cutlass::gemm::GemmUniversalMode::kGemm,
      {m, n, k, 1},
      {codes, by_token, weight, by_channel},
      {{}, nullptr, {}, static_cast<Output*>(out), by_output}};
  arguments.epilogue.thread = {{{token}, {{channel}, {}, {}}, {}}, {bias}, {}};
  arguments.hw_info.sm_count = processors;
  arguments.scheduler.max_swizzle_size = swizzle;
  if (auto status = Gemm::can_implement(arguments); status != cutlass::Status::kSuccess) return static_cast<int>(status);
  if (Gemm::get_workspace_size(arguments) != 0) return 100;
  Gemm gemm;
  auto queue = static_cast<cudaStream_t>(stream);
  if (auto status = gemm.initialize(arguments, nullptr, queue); status != cutlass::Status::kSuccess)
    return 200 + static_cast<int>(status);
  auto status = gemm.run(queue);
  return status == cutlass::Status::kSuccess ? 0 : 300 + static_cast<int>(status);
}
