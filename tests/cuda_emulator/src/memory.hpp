// SPDX-License-Identifier: Apache-2.0
// Device and pinned memory: malloc'd, NaN at first, between guards. Under AddressSanitizer the host may not touch
// device memory, and a bound is exact to the byte; without it, guards are looked at after every kernel and at the
// release.
//
// ISTHMUS_EMULATOR_MEMORY is the number of bytes that a device has, 1 GiB when not set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "cuda_emulator/runtime_api.hpp"

namespace cuda_emulator {

struct Allocation {
    std::byte* begin;
    std::size_t bytes;
    cudaMemoryType type;
    int device;
    void* raw;
};

class Memory {
public:
    // Null when the device has no room.
    void* allocate(cudaMemoryType type, std::size_t bytes, int device);
    // False for what is not the begin of an allocation of that type.
    bool release(cudaMemoryType type, void* pointer);
    // The allocation that holds all of these bytes, or null.
    const Allocation* find(const void* pointer, std::size_t bytes) const;
    std::size_t total() const;
    std::size_t free(int device) const;
    void check_guards() const;

    // While the device runs, it sees its memory; the host does not.
    void show();
    void hide();

private:
    static void check_guards(const Allocation& allocation);

    std::map<std::uintptr_t, Allocation> allocations_;
    mutable const Allocation* found_last_ = nullptr;
    int shown_ = 0;
};

Memory& device_memory();

// The device at work.
struct DeviceRuns {
    DeviceRuns() { device_memory().show(); }
    ~DeviceRuns() { device_memory().hide(); }
    DeviceRuns(const DeviceRuns&) = delete;
    DeviceRuns& operator=(const DeviceRuns&) = delete;
};

}  // namespace cuda_emulator
