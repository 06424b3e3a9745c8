// SPDX-License-Identifier: Apache-2.0
// What csrc/cuda/launch.hpp and ptx.hpp stand on when there is no GPU.
#pragma once

#include <cstddef>
#include <functional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>

#include "cuda_emulator/runtime_api.hpp"
#include "cuda_emulator/types.hpp"

namespace cuda_emulator {

// What the emulator found wrong with a kernel or with the calls of the host: a bug of the program, never of its input.
// It comes out of the call that ran the kernel; when streams run late that is the one that waits.
class Report : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

// ---- inside kernels -------------------------------------------------------------------------------------------------

// The array that a declaration stands for, one a block; `declaration` is an address of its own for each.
void* shared_memory(const void* declaration, std::size_t bytes, const char* name);

template <class T, std::size_t count>
T (&shared_array(const void* declaration, const char* name))
[count] { return *static_cast<T(*)[count]>(shared_memory(declaration, sizeof(T[count]), name)); }

void* dynamic_shared();

// cp.async: the destination is poisoned now and written by the wait, which is also when the source is read.
void copy_async(void* shared, const void* global, int bytes, int valid_bytes,
                std::source_location where = std::source_location::current());
void copy_async_commit();
void copy_async_wait(int groups_under_way);

// ---- launch -------------------------------------------------------------------------------------------------------

// A pointer that a kernel gets must be null, device memory or pinned memory.
void check_pointer(const void* pointer, int position);

cudaError_t queue_kernel(const void* function, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                         std::function<void()> body);

template <class... P>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                   std::tuple<P...> arguments) {
    std::apply(
        [position = 0](const P&... argument) mutable {
            [[maybe_unused]] const auto check = [&](const auto& value) {
                if constexpr (std::is_pointer_v<std::decay_t<decltype(value)>>) check_pointer(value, position);
                ++position;
            };
            (check(argument), ...);
        },
        arguments);
    return queue_kernel(reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
                        [kernel, arguments = std::move(arguments)] { std::apply(kernel, arguments); });
}

}  // namespace cuda_emulator
