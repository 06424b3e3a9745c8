// SPDX-License-Identifier: Apache-2.0
// A launch: checked when it is queued, its blocks run one after another when the stream comes to it.
#include <map>
#include <mutex>

#include "block.hpp"
#include "cpu/floating_point.hpp"
#include "cuda_emulator/launch.hpp"
#include "memory.hpp"
#include "runtime.hpp"
#include "shared_memory.hpp"
#include "stream.hpp"

namespace cuda_emulator {

namespace {

std::map<const void*, int>& dynamic_limits() {
    static auto* const limits = new std::map<const void*, int>;
    return *limits;
}

void run_kernel(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
    const DeviceRuns runs;
    const isthmus::cpu::FloatingPointScope denormals_are_zero;  // as nvcc is told by --ftz=true
    const Order order = Order::from_environment();
    Block& running = running_block();
    SharedMemory& shared = shared_memory_of_block();
    gridDim = grid;
    blockDim = block;
    running.begin_launch(block, body);
    shared.begin_launch(shared_bytes);
    const std::uint64_t count = std::uint64_t{grid.x} * grid.y * grid.z;
    for (std::uint64_t position = 0; position < count; ++position) {
        const std::uint64_t number = order.block(position, count);
        blockIdx = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                    static_cast<unsigned>(number / grid.x / grid.y)};
        shared.begin_block();
        try {
            running.run(order, number);
            shared.end_block();
        } catch (...) {
            running.end_launch();
            throw;
        }
    }
    running.end_launch();
    try {
        device_memory().check_guards();
    } catch (const Report& report) {
        throw Report(std::string(report.what()) + " by a kernel of " + triple(grid.x, grid.y, grid.z) + " blocks of " +
                     triple(block.x, block.y, block.z) + " threads");
    }
}

}  // namespace

cudaError_t queue_kernel(const void* function, dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream,
                         std::function<void()> body) {
    const std::lock_guard lock(runtime_mutex());
    const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
    const bool grid_fits =
        grid.x >= 1 && grid.x <= 0x7fffffffU && grid.y >= 1 && grid.y <= 65535 && grid.z >= 1 && grid.z <= 65535;
    if (!grid_fits || threads < 1 || threads > Block::kMaxThreads || block.z > 64) {
        return failed(cudaErrorInvalidConfiguration);
    }
    const auto limit = dynamic_limits().find(function);
    if (shared_bytes >
        (limit == dynamic_limits().end() ? kStaticSharedBytes : static_cast<std::size_t>(limit->second))) {
        return failed(cudaErrorInvalidValue);
    }
    const auto found = streams().find(stream, current_device());
    if (found == nullptr || found->device != current_device()) return failed(cudaErrorInvalidResourceHandle);
    if (broken()) return failed(cudaErrorIllegalAddress);
    streams().queue(found, {[=, body = std::move(body)] { run_kernel(grid, block, shared_bytes, body); }, {}, {}, 0});
    return cudaSuccess;
}

}  // namespace cuda_emulator

using cuda_emulator::failed;

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
    const std::lock_guard lock(cuda_emulator::runtime_mutex());
    if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize) {
        if (value < 0 || static_cast<std::size_t>(value) > cuda_emulator::kSharedBytes) {
            return failed(cudaErrorInvalidValue);
        }
        cuda_emulator::dynamic_limits()[function] = value;
    }
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
    const std::lock_guard lock(cuda_emulator::runtime_mutex());
    const auto& limits = cuda_emulator::dynamic_limits();
    const auto limit = limits.find(function);
    *attributes = {};
    attributes->maxThreadsPerBlock = cuda_emulator::Block::kMaxThreads;
    attributes->numRegs = 32;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    attributes->maxDynamicSharedSizeBytes =
        limit == limits.end() ? static_cast<int>(cuda_emulator::kStaticSharedBytes) : limit->second;
    return cudaSuccess;
}
