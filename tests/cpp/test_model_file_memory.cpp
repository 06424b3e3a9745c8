// SPDX-License-Identifier: Apache-2.0
// Memory while a model file is read and written: how much is taken, and what happens when there is none. The global
// allocation functions are replaced to see and to decide that.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/configuration.hpp"
#include "core/model_file.hpp"
#include "model_files.hpp"

using namespace model_files;

namespace {

std::size_t largest_allocation = 0;
std::int64_t allocations_until_failure = -1;  // never

}  // namespace

// Not inlined: gcc would take new and free for a mismatched pair.
[[gnu::noinline]] void* operator new(std::size_t size) {
    largest_allocation = std::max(largest_allocation, size);
    if (allocations_until_failure >= 0 && allocations_until_failure-- == 0) throw std::bad_alloc();
    if (void* memory = std::malloc(size)) return memory;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

TEST(huge_sizes_allocate_nothing) {
    const std::string file = to_bytes(small_model(false));
    const std::string weight = R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64,88]})";
    const std::string loss = R"("history.loss":{"dtype":"F64","shape":[2],"data_offsets":[0,16]})";
    const std::vector<std::string> files = {
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[64,64]})"),
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[64,64]})"),
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[1073741824,1073741824],)"
               R"("data_offsets":[64,4611686018427387968]})"),
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[9223372036854775807,0],"data_offsets":[64,64]})"),
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[64,88]})"),
        forged(file, weight,
               R"("encoder.0.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[64,18446744073709551615]})"),
        forged(
            file, loss,
            R"("history.loss":{"dtype":"F64","shape":[1152921504606846975],"data_offsets":[0,9223372036854775800]})"),
        forged(file, R"(\"n_features\":3)", R"(\"n_features\":1000000000)"),
        forged(file, R"(\"n_features\":3)", R"(\"n_features\":9223372036854775807)"),
        forged(file, R"(\"encoder_layers\":[2])", R"(\"encoder_layers\":[1000000000000])"),
        forged(file, R"(\"encoder_layers\":[2])", R"(\"encoder_layers\":[4294967296,4294967296])"),
        forged(file, R"(\"epoch\":2)", R"(\"epoch\":4000000000)"),
    };
    for (const std::string& one : files) {
        largest_allocation = 0;
        CHECK(verdict(one).starts_with("here: "));
        CHECK(largest_allocation < 16384);
    }
}

TEST(each_allocation_may_fail) {
    const StoredModel model = small_model(true);
    const std::string file = to_bytes(model);
    const auto count_failures = [](auto&& body) {
        for (std::int64_t n = 0;; ++n) {
            try {
                allocations_until_failure = n;
                body();
                allocations_until_failure = -1;
                return n;
            } catch (const std::bad_alloc&) {
                allocations_until_failure = -1;
            }
        }
    };
    CHECK(count_failures([&] { from_bytes(file, "here"); }) > 100);
    CHECK(count_failures([&] { to_bytes(model); }) > 100);
    check_equal(from_bytes(file, "here"), model);
}
