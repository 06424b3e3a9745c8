// SPDX-License-Identifier: Apache-2.0
// The registries' visitor on the device, for kernels that are no template over what they visit.
#pragma once

#include "cuda/launch.hpp"
#include "math/type_list.hpp"

namespace isthmus::cuda {

// f(T{}) for the T of the list whose id is `id`.
template <class... Ts, class Id, class F>
__device__ __forceinline__ void visit_on_device(math::TypeList<Ts...>, Id id, F&& f) {
    static_cast<void>(((Ts::id == id && (f(Ts{}), true)) || ...));
}

}  // namespace isthmus::cuda
