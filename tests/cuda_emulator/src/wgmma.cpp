// SPDX-License-Identifier: Apache-2.0
// wgmma.mma_async: a warpgroup's product of two matrices in shared memory, which matrix_descriptor.cpp finds. It begins
// when all 128 threads have issued it, and may read shared memory at any time until a thread has waited for it: at once
// or at the first wait. Meanwhile the sums are poison.
//
// The device truncates as it accumulates, and this does: products and their sum with what was there before are exact,
// or nearly, and are cut to a float.
#include <array>
#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "block.hpp"
#include "cuda_emulator/hopper.hpp"
#include "hopper.hpp"
#include "matrix_descriptor.hpp"
#include "sanitizers.hpp"

namespace cuda_emulator {

namespace {

constexpr unsigned kThreads = 128;
constexpr int kRows = 64;

struct Product {
    WarpgroupProduct what;
    Site site;
    std::uint64_t number = 0;  // of the block
    unsigned arrived = 0;
    std::vector<float> sums;          // n / 2 of each thread
    std::shared_ptr<Product> before;  // that left the sums which this one adds to
    bool computed = false;
    std::vector<Thread*> waiting;

    float* of(unsigned thread) { return &sums[thread * static_cast<std::size_t>(what.n / 2)]; }
};

// A product that a thread has issued and not yet waited for.
struct Pending {
    std::shared_ptr<Product> product;
    float* sums;
    unsigned group;
};
struct Issuer {
    std::vector<Pending> pending;
    unsigned group = 0;
    bool fenced = false;
    std::uint64_t issued = 0;
};
struct Warpgroup {
    std::deque<std::shared_ptr<Product>> open;  // not yet issued by all
    std::uint64_t first = 0;                    // the number of the first of them, in this warpgroup
};

struct State {
    std::array<Issuer, Block::kMaxThreads> issuers;
    std::array<Warpgroup, Block::kMaxThreads / kThreads> warpgroups;
    std::uint64_t products = 0;
    bool used = true;  // by the block: most use nothing of this
};
State& state() {
    static auto* const all = new State;
    return *all;
}

float truncated(double exact) {
    const auto nearest = static_cast<float>(exact);
    return std::fabs(static_cast<double>(nearest)) > std::fabs(exact) ? std::nextafterf(nearest, 0.0F) : nearest;
}

void compute(Product& product) {
    if (product.computed) return;
    if (product.before != nullptr) {
        compute(*product.before);
        product.sums = product.before->sums;
        product.before.reset();
    }
    product.computed = true;
    const WarpgroupProduct& what = product.what;
    // Not on the stack of a fiber, which is small.
    static std::array<std::array<float, kDepth>, 256> a, b;
    read_matrix(what.a, what.transposed_a, kRows, a, product.site);
    read_matrix(what.b, what.transposed_b, what.n, b, product.site);
    static std::array<std::array<double, 256>, kDepth> by_k;  // b, n contiguous
    for (int n = 0; n < what.n; ++n) {
        for (int k = 0; k < kDepth; ++k) by_k[k][n] = static_cast<double>(b[n][k]);
    }
    for (int row = 0; row < kRows; ++row) {
        std::array<double, 256> sums{};
        for (int k = 0; k < kDepth; ++k) {
            const auto factor = static_cast<double>(a[row][k]);
            for (int n = 0; n < what.n; ++n) sums[n] += factor * by_k[k][n];
        }
        // Thread 4 * (row % 8) + column % 8 / 2 of warp row / 16 has four sums of every eight columns: two neighbours,
        // and two in the row eight further down.
        for (int n = 0; n < what.n; ++n) {
            const unsigned thread = static_cast<unsigned>(row / 16 * 32 + row % 8 * 4 + n % 8 / 2);
            float& sum = product.of(thread)[n / 8 * 4 + row % 16 / 8 * 2 + n % 2];
            sum = truncated(what.accumulate ? static_cast<double>(sum) + sums[n] : sums[n]);
        }
    }
}

// The product that this thread takes part in with its next issue.
std::shared_ptr<Product> joined(Warpgroup& group, Issuer& self, const WarpgroupProduct& what, Site where) {
    const std::uint64_t at = self.issued++ - group.first;
    if (at < group.open.size()) {
        if (group.open[at]->what != what) {
            fail("wgmma at " + described(where) +
                 ": other threads of the warpgroup issue another, or other descriptors");
        }
        return group.open[at];
    }
    auto opened = std::make_shared<Product>();
    opened->what = what;
    opened->site = where;
    opened->number = state().products++;
    opened->sums.resize(kThreads * static_cast<std::size_t>(what.n / 2));
    group.open.push_back(opened);
    return opened;
}

}  // namespace

void forget_products() {
    if (!state().used) return;
    state() = {};
    state().used = false;
}

void check_products(const Thread& ended) {
    if (state().issuers[ended.number].pending.empty()) return;
    fail("wgmma at " + described(state().issuers[ended.number].pending.front().product->site) +
         " was still under way when the thread ended");
}

void wgmma_fence() {
    state().used = true;
    state().issuers[running_block().thread().number].fenced = true;
}
void wgmma_commit() { ++state().issuers[running_block().thread().number].group; }

void wgmma(float* sums, const WarpgroupProduct& what, Site where) {
    const Unseen unseen;
    const auto complain = [where](const char* text) { fail("wgmma at " + described(where) + ": " + text); };
    if (what.n < 8 || what.n > 256 || what.n % 8 != 0) complain("n is not 8, 16, ..., 256");
    state().used = true;
    const unsigned number = running_block().thread().number;
    Issuer& self = state().issuers[number];
    const std::size_t count = static_cast<std::size_t>(what.n / 2);

    std::shared_ptr<Product> before;
    for (const Pending& other : self.pending) {
        const std::size_t others = static_cast<std::size_t>(other.product->what.n / 2);
        if (other.sums == sums && others == count) {
            before = other.product;
        } else if (other.sums < sums + count && sums < other.sums + others) {
            complain("other sums under way are in the same registers");
        }
    }
    if (before == nullptr && !self.fenced) complain("no wgmma.fence since the registers were used");

    Warpgroup& group = state().warpgroups[number / kThreads];
    const std::shared_ptr<Product> product = joined(group, self, what, where);
    if (product->arrived > 0 && product->before != before) complain("other threads add to other sums");
    product->before = before;
    if (before == nullptr) std::memcpy(product->of(number % kThreads), sums, count * sizeof(float));
    for (std::size_t i = 0; i < count; ++i) sums[i] = std::numeric_limits<float>::quiet_NaN();
    self.pending.push_back({product, sums, self.group});
    if (++product->arrived < kThreads) return;
    // Threads issue in order, so that the product which all have issued is the first.
    group.open.pop_front();
    ++group.first;
    for (Thread* const thread : product->waiting) running_block().wake(*thread);
    product->waiting.clear();
    if (!running_block().order().late(product->number)) compute(*product);
}

void wgmma_wait(int groups_under_way, Site where) {
    const Unseen unseen;
    Thread& thread = running_block().thread();
    Issuer& self = state().issuers[thread.number];
    std::size_t done = 0;
    for (; done < self.pending.size(); ++done) {
        const Pending& pending = self.pending[done];
        // Groups 0 .. group - 1 are closed; an open one is not waited for.
        if (pending.group + static_cast<unsigned>(groups_under_way) >= self.group) break;
        const std::shared_ptr<Product> product = pending.product;
        while (product->arrived < kThreads) {
            product->waiting.push_back(&thread);
            running_block().wait("wgmma.wait_group", where);
        }
        compute(*product);
    }
    for (std::size_t i = 0; i < done; ++i) {
        const Pending& pending = self.pending[i];
        bool last = true;  // of those in these registers
        for (std::size_t j = i + 1; j < self.pending.size(); ++j) last = last && self.pending[j].sums != pending.sums;
        if (!last) continue;
        std::memcpy(pending.sums, pending.product->of(thread.number % kThreads),
                    static_cast<std::size_t>(pending.product->what.n / 2) * sizeof(float));
        self.fenced = false;
    }
    self.pending.erase(self.pending.begin(), self.pending.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace cuda_emulator
