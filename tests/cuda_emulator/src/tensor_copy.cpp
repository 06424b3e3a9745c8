// SPDX-License-Identifier: Apache-2.0
// The tensor memory accelerator: maps, encoded under the driver's rules, and copies of boxes to shared memory. A copy
// poisons its destination when it is issued; it reads and writes at once, or only when nobody can go on without it.
#include <array>
#include <cstring>
#include <vector>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "cuda_emulator/launch.hpp"
#include "hopper.hpp"
#include "memory.hpp"
#include "sanitizers.hpp"
#include "shared_memory.hpp"

namespace cuda_emulator {

namespace {

constexpr std::uint64_t kMark = 0x74656e736f726d61;
constexpr int kElement = 2;  // bytes of a bfloat16

// What a map says; it fits into the 128 bytes that are opaque to others.
struct Map {
    std::uint64_t mark;
    const std::byte* address;
    std::uint64_t cols, rows;
    std::uint64_t stride;  // bytes
    std::uint32_t box_cols, box_rows;
    int swizzle;
};
static_assert(sizeof(Map) <= sizeof(CUtensorMap));

struct Copy {
    std::byte* shared;
    Map map;
    int c0, c1;
    std::uint64_t* barrier;
    Site site;
};

struct Copies {
    std::vector<Copy> late;
    std::uint64_t issued = 0;
};
Copies& copies() {
    static auto* const all = new Copies;
    return *all;
}

unsigned bytes_of(const Map& map) { return map.box_cols * map.box_rows * kElement; }

// The 16 bytes that stand `offset` behind an address: within the pattern, bits 4.. are mixed with bits 7...
std::byte* swizzled(std::byte* begin, unsigned offset, int swizzle) {
    const unsigned plain = shared_address(begin) + offset;
    const unsigned bits = (1U << swizzle) - 1;  // 32, 64, 128 bytes: 1, 2, 3 bits
    return begin + ((plain ^ ((plain >> 7 & bits) << 4)) - shared_address(begin));
}

void deliver(const Copy& copy) {
    const Map& map = copy.map;
    constexpr unsigned kRun = 16 / kElement;
    for (unsigned row = 0; row < map.box_rows; ++row) {
        const std::int64_t r = std::int64_t{copy.c1} + row;
        const bool row_inside = r >= 0 && r < static_cast<std::int64_t>(map.rows);
        for (unsigned col = 0; col < map.box_cols; col += kRun) {
            std::array<std::byte, 16> run{};
            for (unsigned i = 0; row_inside && i < kRun; ++i) {
                const std::int64_t c = std::int64_t{copy.c0} + col + i;
                if (c < 0 || c >= static_cast<std::int64_t>(map.cols)) continue;
                const std::byte* const from =
                    map.address + static_cast<std::uint64_t>(r) * map.stride + static_cast<std::uint64_t>(c) * kElement;
                if (device_memory().find(from, kElement) == nullptr) {
                    fail("cp.async.bulk.tensor at " + described(copy.site) + ": reads outside of device memory");
                }
                std::memcpy(&run[i * kElement], from, kElement);
            }
            std::memcpy(swizzled(copy.shared, (row * map.box_cols + col) * kElement, map.swizzle), run.data(), 16);
        }
    }
    mbarrier_complete_tx(copy.barrier, bytes_of(map));
}

}  // namespace

void forget_tensor_copies() { copies().late.clear(); }

void check_tensor_copies() {
    if (copies().late.empty()) return;
    throw Report("block " + triple(blockIdx.x, blockIdx.y, blockIdx.z) + ": cp.async.bulk.tensor at " +
                 described(copies().late.front().site) + " was still under way when the block ended");
}

bool deliver_late_copy() {
    std::vector<Copy>& late = copies().late;
    if (late.empty()) return false;
    const auto at = static_cast<std::ptrdiff_t>(running_block().order().choice(copies().issued, late.size()));
    const Copy copy = late[static_cast<std::size_t>(at)];
    late.erase(late.begin() + at);
    deliver(copy);
    return true;
}

void tensor_copy_2d(void* shared, const CUtensorMap* from, int c0, int c1, std::uint64_t* barrier, Site where) {
    const Unseen unseen;
    const auto complain = [where](const char* what) {
        fail("cp.async.bulk.tensor at " + described(where) + ": " + what);
    };
    Map map;
    std::memcpy(&map, from, sizeof map);
    if (map.mark != kMark || reinterpret_cast<std::uintptr_t>(from) % 64 != 0) complain("no tensor map");
    check_mbarrier(barrier, "cp.async.bulk.tensor", where);
    // The pattern repeats after 1024 bytes of the address; one that begins elsewhere is no tile of wgmma's.
    if (shared_address(shared) % (map.swizzle == 0 ? 128 : 128U << map.swizzle) != 0)
        complain("shared memory not aligned");
    if (!shared_memory_of_block().contains(shared, bytes_of(map))) complain("writes outside of shared arrays");
    std::memset(shared, 0xff, bytes_of(map));
    const Copy copy{static_cast<std::byte*>(shared), map, c0, c1, barrier, where};
    if (running_block().order().late(copies().issued++)) {
        copies().late.push_back(copy);
    } else {
        deliver(copy);
    }
}

}  // namespace cuda_emulator

using cuda_emulator::Map;

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* address,
                                const cuuint64_t* dims, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
    constexpr cuuint64_t kMostElements = cuuint64_t{1} << 32;
    const auto aligned = [](const void* p, std::uintptr_t to) { return reinterpret_cast<std::uintptr_t>(p) % to == 0; };
    // Only what csrc/cuda uses is here; the rest is the driver's.
    if (type != CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 || rank != 2 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (!aligned(map, 64) || !aligned(address, 16)) return CUDA_ERROR_INVALID_VALUE;
    for (int i = 0; i < 2; ++i) {
        if (dims[i] < 1 || dims[i] > kMostElements || box[i] < 1 || box[i] > 256) return CUDA_ERROR_INVALID_VALUE;
        if (element_strides[i] != 1) return CUDA_ERROR_INVALID_VALUE;
    }
    if (strides[0] % 16 != 0 || strides[0] >= cuuint64_t{1} << 40 || strides[0] < dims[0] * cuda_emulator::kElement) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    const cuuint32_t inner = box[0] * cuda_emulator::kElement;
    if (inner % 16 != 0) return CUDA_ERROR_INVALID_VALUE;
    if (swizzle != CU_TENSOR_MAP_SWIZZLE_NONE && inner > 16U << swizzle) return CUDA_ERROR_INVALID_VALUE;
    const Map encoded{
        cuda_emulator::kMark,     static_cast<const std::byte*>(address), dims[0], dims[1], strides[0], box[0], box[1],
        static_cast<int>(swizzle)};
    std::memcpy(map, &encoded, sizeof encoded);
    return CUDA_SUCCESS;
}
