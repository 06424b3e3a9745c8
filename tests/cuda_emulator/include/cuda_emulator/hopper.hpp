// SPDX-License-Identifier: Apache-2.0
// What csrc/cuda/ptx/hopper.hpp and ptx_wgmma.hpp stand on when there is no GPU: the twins of what compute capability
// 9.0 adds. Addresses of shared memory are those of a window of 256 KB, as on the device.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "cuda_emulator/device.hpp"

namespace cuda_emulator {

unsigned shared_address(const void* shared);

// ---- mbarrier -----------------------------------------------------------------------------------------------------

void mbarrier_init(std::uint64_t* barrier, unsigned arrivals, Site where = Site::current());
void mbarrier_arrive(std::uint64_t* barrier, Site where = Site::current());
void mbarrier_arrive_expect_tx(std::uint64_t* barrier, unsigned bytes, Site where = Site::current());
// Returns when the phase of this parity is complete, as a loop of try_wait does.
void mbarrier_wait(std::uint64_t* barrier, unsigned parity, Site where = Site::current());

// ---- the tensor memory accelerator --------------------------------------------------------------------------------

// A box whose first element is (c0, c1), c0 along the contiguous dimension; what lies outside of the tensor becomes 0.
void tensor_copy_2d(void* shared, const CUtensorMap* map, int c0, int c1, std::uint64_t* barrier,
                    Site where = Site::current());

// ---- wgmma --------------------------------------------------------------------------------------------------------

// m64nNk16 of bfloat16 with float sums. transposed: the operand is MN-major.
struct WarpgroupProduct {
    int n = 0;
    bool transposed_a = false, transposed_b = false;
    std::uint64_t a = 0, b = 0;  // matrix descriptors
    bool accumulate = false;

    bool operator==(const WarpgroupProduct&) const = default;
};
void wgmma(float* sums, const WarpgroupProduct& product, Site where = Site::current());
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int groups_under_way, Site where = Site::current());

// ---- named barriers, registers --------------------------------------------------------------------------------------

void named_barrier(unsigned number, unsigned threads, Site where = Site::current());
// setmaxnreg.inc, setmaxnreg.dec
void set_registers(bool increase, unsigned count, Site where = Site::current());

}  // namespace cuda_emulator
