// SPDX-License-Identifier: Apache-2.0
// Where a product meets its kernel.
#pragma once

#include <cstdint>

#include "cuda/epilogues.cuh"
#include "cuda/gemm.cuh"
#include "cuda/mma_product.cuh"
#include "cuda/product_plan.hpp"

namespace isthmus::cuda {

// An operand: floats, or planes where the arithmetic wants them. The other is not looked at.
struct Factor {
    Operand floats;
    Planes planes;
};

// c(m, n) = sum over k of a(m, k) b(n, k), by the kernel that the plan names. epilogue(NoPlanes or IntoPlanes) makes
// the epilogue; `planes` is where it writes planes, if it does.
template <Contiguous kA, Contiguous kB, class MakeEpilogue>
void launch_product(const ProductPlan& plan, const Factor& a, const Factor& b, std::int64_t m, std::int64_t n,
                    std::int64_t k, const Planes& planes, MakeEpilogue&& epilogue, cudaStream_t stream,
                    std::int64_t parts = 1) {
    switch (plan.arithmetic) {
        case Arithmetic::simt:
            return epilogue(NoPlanes{}).typed([&](const auto& typed) {
                launch_gemm<kA, kB>(plan.tile, a.floats, b.floats, m, n, k, typed, stream, parts);
            });
        case Arithmetic::tf32:
            return launch_mma_product<Tf32, kA, kB>(plan.tile, a.floats, b.floats, m, n, k, epilogue(NoPlanes{}),
                                                    stream, parts);
        case Arithmetic::bfloat16:
            return launch_mma_product<Bfloat16Planes<1>, kA, kB>(plan.tile, a.planes, b.planes, m, n, k,
                                                                 epilogue(IntoPlanes{planes}), stream, parts);
        case Arithmetic::bf16x6:
            return launch_mma_product<Bfloat16Planes<3>, kA, kB>(plan.tile, a.planes, b.planes, m, n, k,
                                                                 epilogue(IntoPlanes{planes}), stream, parts);
    }
}

}  // namespace isthmus::cuda
