// SPDX-License-Identifier: Apache-2.0
// The mutation test: every bug of planted.hpp is found, by a wrong result, by bits that differ between orders, by a
// report or by a sanitizer; without a bug all orders and all times of streams give the bits that the host computes.
//
// Each bug runs in a process of its own, which a sanitizer may end; nothing runs in the parent, since ThreadSanitizer
// takes fibers for threads and looks away in the child of a process that has some. A new class of bugs is a line in
// Bug, the place where it is planted and a line in kNames.
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "planted.hpp"
#include "planted_mma.hpp"
#include "planting.hpp"

using namespace emulated;
using planted::Bug;

namespace {

constexpr const char* kNames[] = {
    "none",
    "missing __syncthreads after a copy",
    "missing __syncthreads before overwriting",
    "missing __syncwarp",
    "missing cp.async wait",
    "off by one at the M edge of a load",
    "off by one at the N edge of a load",
    "off by one at the K edge of a load",
    "off by one at the M edge of a store",
    "off by one at the N edge of a store",
    "wrong k tail",
    "cross-warp race",
    "divergent barrier",
    "divergent shuffle",
    "uninitialised shared memory",
    "shared-memory overrun",
    "shared-memory overrun by cp.async",
    "two blocks write one output",
    "atomics that add in any order",
    "kernel that does not wait for a copy in another stream",
    "copy that does not wait for a kernel in another stream",
    "missing stream synchronisation",
    "wrong fragment index",
    "wrong accumulator layout",
    "missing cp.async wait among several stages",
    "wrong k tail of fragments",
    "swapped rows of ldmatrix",
};
static_assert(std::size(kNames) == static_cast<std::size_t>(Bug::last));

struct Shape {
    int m, n, k;
};
// Whole tiles; partial ones in M, N and K, with more tiles of K than stages; a single row, column and k.
constexpr Shape kShapes[] = {{32, 64, 48}, {37, 45, 77}, {33, 100, 29}, {1, 1, 1}};
constexpr int kSlices = 3;

int pitch(int k) { return (k + 3) / 4 * 4; }
int slice_of(int k) { return (k + 4 * kSlices - 1) / (4 * kSlices) * 4; }
int cut(int total, int tile) { return (total + tile - 1) / tile; }

// Numbers without a pattern, whose sums round.
float number(int i) { return static_cast<float>((i * 7919 + 13) % 1009) / 257.0F - 1.9F; }

// y of the whole program for two batches of x; its work in one stream, copies of x in another.
template <Bug bug>
std::vector<float> run(const Shape& s) {
    constexpr int kBatches = 3;
    std::vector<float> y(static_cast<std::size_t>(kBatches * s.m));
    const auto x_bytes = static_cast<std::size_t>(s.m * pitch(s.k)) * sizeof(float);
    std::vector<float> w(static_cast<std::size_t>(s.n * s.k)), bias(static_cast<std::size_t>(s.n));
    for (int i = 0; i < s.n * s.k; ++i) w[static_cast<std::size_t>(i)] = number(i + 5);
    for (int i = 0; i < s.n; ++i) bias[static_cast<std::size_t>(i)] = number(i + 3);

    const Stream compute, transfer;
    const Event copied, used;
    const DeviceArray<float> x_on(static_cast<std::size_t>(s.m * pitch(s.k)));
    const DeviceArray<float> w_on(static_cast<std::size_t>(s.n * pitch(s.k)));
    const DeviceArray<float> bias_on(bias), y_on(y.size());
    const DeviceArray<float> partial(static_cast<std::size_t>(kSlices * s.m * s.n));
    const Pinned pinned(static_cast<std::size_t>(kBatches) * x_bytes);
    const auto row = static_cast<std::size_t>(s.k) * sizeof(float);
    const auto to = static_cast<std::size_t>(pitch(s.k)) * sizeof(float);  // the gap stays as it was: NaN
    must(cudaMemcpy2DAsync(w_on.data(), to, w.data(), row, row, static_cast<std::size_t>(s.n), cudaMemcpyHostToDevice,
                           compute.handle));
    for (int batch = 0; batch < kBatches; ++batch) {
        float* const x = pinned.data + batch * s.m * s.k;
        for (int i = 0; i < s.m * s.k; ++i) x[i] = number(i + 11 * batch);
        if (bug != Bug::no_wait_for_kernel) must(cudaStreamWaitEvent(transfer.handle, used.handle));
        must(cudaMemcpy2DAsync(x_on.data(), to, x, row, row, static_cast<std::size_t>(s.m), cudaMemcpyHostToDevice,
                               transfer.handle));
        must(cudaEventRecord(copied.handle, transfer.handle));
        if (bug != Bug::no_wait_for_copy) must(cudaStreamWaitEvent(compute.handle, copied.handle));
        if (bug == Bug::two_blocks_write_one_output || bug == Bug::atomics_in_any_order) {
            must(cudaMemsetAsync(partial.data(), 0, static_cast<std::size_t>(kSlices * s.m * s.n) * sizeof(float),
                                 compute.handle));
        }
        const dim3 grid(static_cast<unsigned>(cut(s.n, planted::kTile)),
                        static_cast<unsigned>(cut(s.m, planted::kTile)), kSlices);
        launch(planted::product<bug>, grid, planted::kThreads, 0, compute.handle, x_on.data(), w_on.data(),
               partial.data(), s.m, s.n, s.k, pitch(s.k), slice_of(s.k));
        must(cudaEventRecord(used.handle, compute.handle));
        launch(planted::sum_rows<bug>, static_cast<unsigned>(s.m), planted::kSumThreads, 0, compute.handle,
               partial.data(), bias_on.data(), y_on.data() + batch * s.m, s.m, s.n, kSlices);
    }
    must(cudaMemcpyAsync(y.data(), y_on.data(), y.size() * sizeof(float), cudaMemcpyDeviceToHost, compute.handle));
    if (bug == Bug::no_stream_synchronisation) return std::vector<float>(y);
    must(cudaStreamSynchronize(compute.handle));
    return y;
}

// The same sums in the same order.
std::vector<float> expected(const Shape& s) {
    std::vector<float> y;
    for (int batch = 0; batch < 3; ++batch) {
        for (int i = 0; i < s.m; ++i) {
            std::array<float, planted::kSumThreads> sum{};
            for (int j = 0; j < s.n; ++j) {
                float value = number(j + 3);
                for (int slice = 0; slice < kSlices; ++slice) {
                    float product = 0.0F;
                    for (int k = slice * slice_of(s.k); k < std::min(s.k, (slice + 1) * slice_of(s.k)); ++k) {
                        product = std::fmaf(number(i * s.k + k + 11 * batch), number(j * s.k + k + 5), product);
                    }
                    value += product;
                }
                sum[static_cast<std::size_t>(j % planted::kSumThreads)] += value;
            }
            float total = 0.0F;
            for (int warp = 0; warp < planted::kSumThreads / 32; ++warp) {
                std::array<float, 32> lanes;
                for (int lane = 0; lane < 32; ++lane) {
                    lanes[static_cast<std::size_t>(lane)] = sum[static_cast<std::size_t>(32 * warp + (lane + 5) % 32)];
                }
                for (std::size_t distance = 16; distance > 0; distance /= 2) {
                    for (std::size_t lane = 0; lane < distance; ++lane) lanes[lane] += lanes[lane + distance];
                }
                total += lanes[0];
            }
            y.push_back(total);
        }
    }
    return y;
}

template <Bug bug>
Finding finding(const char* order_name, const char* time, const Shape& shape) {
    const Setting in_order = order(order_name);
    const Setting at = streams(time);
    try {
        const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
            return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
        };
        if (!same(run<bug>(shape), expected(shape))) return wrong_result;
        return same(planted::fragment_product_of<bug>(shape.m, shape.n, shape.k),
                    planted::expected_product(shape.m, shape.n, shape.k))
                   ? nothing
                   : wrong_result;
    } catch (const cuda_emulator::Report& report) {
        std::fprintf(stderr, "%s\n", report.what());
        return reported;
    }
}

template <Bug bug>
Finding first_finding() {
    for (const Shape& shape : std::span(kShapes).subspan(kSlow ? 1 : 0)) {
        for (const char* name : std::span(kOrders).first(kSlow ? 2 : std::size(kOrders))) {
            for (const char* time : {"early", "late", "1", "2", "3", "4"}) {
                if (kSlow && shape.m != 1 && time[0] != 'e') continue;
                const Finding found = finding<bug>(name, time, shape);
                if (found != nothing) return found;
            }
        }
    }
    return nothing;
}

TEST(without_a_bug_all_orders_give_the_bits_of_the_host) {
    CHECK(exit_code_of([] { return static_cast<int>(first_finding<Bug::none>()); }) == nothing);
}

TEST(every_planted_bug_is_found) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
        (examine(kNames[i + 1], first_finding<static_cast<Bug>(i + 1)>), ...);
    }(std::make_index_sequence<std::size(kNames) - 1>());
}

#if defined(__SANITIZE_THREAD__)
// One order is enough to see a race, whatever came out of it.
TEST(races_are_seen_in_every_order) {
    constexpr int kRace = 66;  // ThreadSanitizer's exit code
    const auto code = []<Bug bug>(std::integral_constant<Bug, bug>, const char* name) {
        return exit_code_of([=] { return static_cast<int>(finding<bug>(name, "early", kShapes[1])); });
    };
    for (const char* name : kOrders) {
        CHECK(code(std::integral_constant<Bug, Bug::none>(), name) == nothing);
        CHECK(code(std::integral_constant<Bug, Bug::no_barrier_after_copy>(), name) == kRace);
        CHECK(code(std::integral_constant<Bug, Bug::no_barrier_before_overwriting>(), name) == kRace);
        CHECK(code(std::integral_constant<Bug, Bug::no_syncwarp>(), name) == kRace);
        CHECK(code(std::integral_constant<Bug, Bug::cross_warp_race>(), name) == kRace);
        CHECK(code(std::integral_constant<Bug, Bug::two_blocks_write_one_output>(), name) == kRace);
        CHECK(code(std::integral_constant<Bug, Bug::n_edge_of_store>(), name) == kRace);
    }
}
#endif

}  // namespace

#if defined(__SANITIZE_THREAD__)
extern "C" __attribute__((visibility("default"))) const char* __tsan_default_options() { return "halt_on_error=1"; }
#endif
