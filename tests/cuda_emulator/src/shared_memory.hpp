// SPDX-License-Identifier: Apache-2.0
// The shared memory of the block that runs: NaN before each block, every array between two redzones.
//
// AddressSanitizer is told of the redzones; without it they hold a pattern, which is looked at when the block ends, and
// which is NaN too for who reads it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace cuda_emulator {

inline constexpr std::size_t kStaticSharedBytes = 48 * 1024;  // what a block may declare
inline constexpr std::size_t kSharedBytes = 227 * 1024;       // with dynamic shared memory, of compute capability 9.0

class SharedMemory {
public:
    SharedMemory();

    void begin_launch(std::size_t dynamic_bytes);
    void begin_block();
    // Throws a Report when a redzone has been written to.
    void end_block();

    void* array(const void* declaration, std::size_t bytes, const char* name);
    void* dynamic();
    // Whether all of it lies in one array.
    bool contains(const void* pointer, std::size_t bytes) const;
    // The address within the window of shared memory that instructions take, and back.
    unsigned address(const void* pointer) const;
    std::byte* at(unsigned address) const { return begin_ + address; }

private:
    struct Array {
        const void* declaration;
        std::byte* begin;
        std::size_t bytes;
        const char* name;
        bool used;  // by the block that runs
    };

    Array& find(const void* declaration, std::size_t bytes, const char* name);
    void add_redzone();
    void start_layout();

    std::byte* begin_;
    std::vector<Array> arrays_;
    std::byte* used_ = nullptr;
    std::size_t dynamic_bytes_ = 0;
};

SharedMemory& shared_memory_of_block();

}  // namespace cuda_emulator
