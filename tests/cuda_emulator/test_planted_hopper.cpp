// SPDX-License-Identifier: Apache-2.0
// The mutation test of what compute capability 9.0 adds: every bug of planted_hopper.hpp is found, and without a bug
// all orders give the integers that the host computes. Nothing runs in the parent: see test_planted.cpp.
#include <iterator>
#include <utility>

#include "cuda/tensor_map.hpp"
#include "planes_on_host.hpp"
#include "planted_hopper.hpp"
#include "planting.hpp"

using namespace emulated;
using planted_hopper::Bug;

namespace {

constexpr const char* kNames[] = {
    "none",
    "swapped coordinates of a box",
    "wrong mbarrier parity",
    "missing wait for the full barrier",
    "stage overwritten before its consumers arrived",
    "stage released before its products were waited for",
    "too few bytes expected",
    "too many bytes expected",
    "one arrival too many",
    "missing barrier after mbarrier.init",
    "wrong accumulator layout",
    "missing wgmma.fence",
    "missing wgmma.commit_group",
    "missing wgmma.wait_group",
    "wrong stride of a descriptor",
    "wrong leading offset of a descriptor",
    "wrong step along k of a descriptor",
    "operand read in the other order",
    "a warp that leaves out its wgmma",
    "missing named barrier",
    "wrong count of a named barrier",
    "setmaxnreg by one warp of four",
    "setmaxnreg beyond what there is",
};
static_assert(std::size(kNames) == static_cast<std::size_t>(Bug::last));

struct Shape {
    int m, n, k;
};
// Whole; partial in M, N and K, with more slices than slots; one of all.
constexpr Shape kShapes[] = {{128, 128, 64}, {140, 150, 330}, {1, 1, 1}};

float number(int i, int j, int seed) { return static_cast<float>((i * 7 + j * 5 + i * j + seed) % 17 - 8); }

std::vector<float> matrix(int rows, int cols, int seed) {
    std::vector<float> values;
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < cols; ++j) values.push_back(number(i, j, seed));
    }
    return values;
}

template <Bug bug>
bool right(const Shape& s) {
    const PlaneMatrix a(s.m, s.k, 1, matrix(s.m, s.k, 3)), b(s.k, s.n, 1, matrix(s.k, s.n, 11));
    const DeviceArray<float> c(static_cast<std::size_t>(s.m * s.n));
    const dim3 grid(static_cast<unsigned>((s.n + 127) / 128), static_cast<unsigned>((s.m + 127) / 128));
    launch(planted_hopper::product<bug>, grid, planted_hopper::kThreads, planted_hopper::kSharedBytes, nullptr,
           isthmus::cuda::tensor_map(a.planes(), 0, s.m, s.k, 128),
           isthmus::cuda::tensor_map(b.planes(), 0, s.k, s.n, 64), c.data(), s.m, s.n, s.k);
    const std::vector<float> got = c.values();
    for (int i = 0; i < s.m; ++i) {
        for (int j = 0; j < s.n; ++j) {
            float sum = 0.0F;
            for (int k = 0; k < s.k; ++k) sum += number(i, k, 3) * number(k, j, 11);
            if (got[static_cast<std::size_t>(i * s.n + j)] != sum) return false;
        }
    }
    return true;
}

template <Bug bug>
Finding first_finding() {
    for (const Shape& shape : kShapes) {
        for (const char* name : kOrders) {
            const Setting in_order = order(name);
            const Finding found = finding_of([&] { return right<bug>(shape); });
            if (found != nothing) return found;
        }
    }
    return nothing;
}

TEST(without_a_bug_all_orders_give_the_integers_of_the_host) {
    CHECK(exit_code_of([] { return static_cast<int>(first_finding<Bug::none>()); }) == nothing);
}

TEST(every_planted_bug_is_found) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
        (examine(kNames[i + 1], first_finding<static_cast<Bug>(i + 1)>), ...);
    }(std::make_index_sequence<std::size(kNames) - 1>());
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() { return "halt_on_error=1"; }
#endif
