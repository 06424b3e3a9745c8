// SPDX-License-Identifier: Apache-2.0
// Everything that is not a product: losses, activations on their own, the optimizer's update, noise.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/simd.hpp"
#include "cpu/vector_group.hpp"
#include "math/activations.hpp"
#include "math/losses.hpp"
#include "math/optimizers.hpp"
#include "math/philox.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// How many of a row's targets are not NaN.
static float count_observed(const float* target, std::int64_t cols) {
    Vec count(0.0F);
    for_each_vector(cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
        using T = typename decltype(part)::T;
        const T t = part.load(target + j);
        count = count + part.sum(part.keep(select(t == t, T(1.0F), T(0.0F))));
    });
    return static_cast<float>(sum_lanes(count));
}

// By value: to the compiler a store of a vector may change what lies behind a reference. Where all is observed, kMasked
// changes no bit.
template <class LossT, bool kMasked, bool kGradient, bool kValues>
static void loss_with(const LossArgs l) {
    for (std::int64_t r = 0; r < l.rows; ++r) {
        const float* y = l.y + r * l.y_stride;
        const float* target = l.targets[r];
        float* dy = kGradient ? l.dy + r * l.dy_stride : nullptr;
        float* values = kValues ? l.values + r * l.values_stride : nullptr;
        float scale = kGradient ? l.row_scale[r] : 0.0F;
        double divisor = l.divisor;
        if constexpr (kMasked) {
            const float observed = count_observed(target, l.cols);
            scale = observed > 0.0F ? scale * (static_cast<float>(l.cols) / observed) : 0.0F;
            divisor = observed > 0.0F ? static_cast<double>(observed) : 1.0;
        }
        Vec sum(0.0F);
        for_each_vector(l.cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
            using T = typename decltype(part)::T;
            T value;
            T gradient;
            const T t = part.load(target + j);
            LossT::evaluate(part.load(y + j), t, value, gradient);
            if constexpr (kValues) part.store(value, values + j);
            if constexpr (kMasked) {
                value = select(t == t, value, T(0.0F));
                gradient = select(t == t, gradient, T(0.0F));
            }
            sum = sum + part.sum(part.keep(value));
            if constexpr (kGradient) part.store_whole(part.keep(gradient * T(scale)), dy + j);
        });
        l.errors[r] = sum_lanes(sum) / divisor;
    }
}

template <class LossT, bool kMasked>
static void loss_of(const LossArgs& args) {
    if (args.dy != nullptr) {
        loss_with<LossT, kMasked, true, false>(args);
    } else if (args.values != nullptr) {
        loss_with<LossT, kMasked, false, true>(args);
    } else {
        loss_with<LossT, kMasked, false, false>(args);
    }
}

static void loss(const LossArgs& args) {
    math::visit(args.loss, [&](auto which) {
        using LossT = decltype(which);
        args.masked ? loss_of<LossT, true>(args) : loss_of<LossT, false>(args);
    });
}

static void activation_forward(Activation activation, std::int64_t n, const float* z, float* y) {
    math::visit(activation, [&](auto act) {
        for_each_vector(n, [&](std::int64_t i, auto part)
                               ISTHMUS_LAMBDA_INLINE { part.store(decltype(act)::forward(part.load(z + i)), y + i); });
    });
}

static void activation_backward(Activation activation, std::int64_t n, const float* kept, const float* dy, float* dz) {
    math::visit(activation, [&](auto act) {
        for_each_vector(n, [&](std::int64_t i, auto part) ISTHMUS_LAMBDA_INLINE {
            part.store(part.load(dy + i) * decltype(act)::derivative(part.load(kept + i)), dz + i);
        });
    });
}

template <class Opt>
static bool update_with(const UpdateArgs& u) {
    const math::UpdateConstants constants = *u.constants;
    const float scale = u.scale;
    const float* gradient = u.gradient;
    float* param = u.param;
    float* m = u.m;
    float* v = u.v;
    Vec bad(0.0F);  // x * 0 is NaN for a NaN or an infinity, and stays NaN in the sum
    for_each_vector(u.n, [&](std::int64_t i, auto part) ISTHMUS_LAMBDA_INLINE {
        using T = typename decltype(part)::T;
        T new_param = part.load(param + i);
        T new_m = Opt::uses_m ? part.load(m + i) : T(0.0F);
        T new_v = Opt::uses_v ? part.load(v + i) : T(0.0F);
        Opt::update(constants, new_param, part.load(gradient + i) * T(scale), new_m, new_v);
        part.store(new_param, param + i);
        if constexpr (Opt::uses_m) part.store(new_m, m + i);
        if constexpr (Opt::uses_v) part.store(new_v, v + i);
        T suspect = new_param * T(0.0F);
        if constexpr (Opt::uses_v) suspect = fma(new_v, T(0.0F), suspect);
        bad = bad + part.sum(suspect);
    });
    return sum_lanes(bad) == 0.0;
}

static bool update(const UpdateArgs& args) {
    bool finite = true;
    math::visit(args.optimizer, [&](auto opt) { finite = update_with<decltype(opt)>(args); });
    return finite;
}

static bool all_finite(std::int64_t rows, std::int64_t cols, const float* x, std::int64_t stride) {
    Vec bad(0.0F);
    for (std::int64_t r = 0; r < rows; ++r) {
        for_each_vector(cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
            using T = typename decltype(part)::T;
            bad = bad + part.sum(part.load(x + r * stride + j) * T(0.0F));
        });
    }
    return sum_lanes(bad) == 0.0;
}

static void sum(std::int64_t n, const float* a, const float* b, float* out) {
    for_each_vector(n, [&](std::int64_t i, auto part)
                           ISTHMUS_LAMBDA_INLINE { part.store(part.load(a + i) + part.load(b + i), out + i); });
}

// In double, eight running sums in a fixed order: a square of a float cannot overflow there.
static double sum_of_squares(const float* x, std::int64_t n, float scale) {
    double sum[8] = {};
    for (std::int64_t i = 0; i < n; ++i) {
        const double g = static_cast<double>(x[i] * scale);
        sum[i & 7] += g * g;
    }
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static void gather(const GatherArgs& g) {
    for (std::int64_t r = 0; r < g.rows; ++r) {
        const float* from = g.from[r];
        float* to = g.x + r * g.x_stride;
        for_each_vector(
            g.cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE { part.store(part.load(from + j), to + j); });
    }
}

// Each lane makes the four numbers of one group of features; interleaving puts them back in order.
static void corrupt(const CorruptArgs& c) {
    alignas(64) std::int32_t lane_numbers[kLanes];
    for (int i = 0; i < kLanes; ++i) lane_numbers[i] = i;
    IVec lanes;
    __builtin_memcpy(&lanes.v, lane_numbers, sizeof(lanes.v));
    const Vec amount(c.noise.amount);

    for (std::int64_t begin = 0; begin < c.cols; begin += 4 * kLanes) {
        const IVec group = lanes + IVec(static_cast<std::int32_t>(begin / 4));
        const auto random = math::philox(
            math::row_counter(c.purpose, group, static_cast<std::uint64_t>(c.row_number), c.noise.epoch), c.noise.seed);
        const bool gaussian = c.noise.kind == NoiseKind::gaussian;
        const math::Quad<Vec> q = gaussian ? math::gaussians<Vec>(random) : math::uniforms<Vec>(random);
        const Vec even_low = interleave_low(q.value[0], q.value[2]);
        const Vec even_high = interleave_high(q.value[0], q.value[2]);
        const Vec odd_low = interleave_low(q.value[1], q.value[3]);
        const Vec odd_high = interleave_high(q.value[1], q.value[3]);
        const Vec noise[4] = {interleave_low(even_low, odd_low), interleave_high(even_low, odd_low),
                              interleave_low(even_high, odd_high), interleave_high(even_high, odd_high)};
        for (int i = 0; i < 4; ++i) {
            const std::int64_t j = begin + i * kLanes;
            if (j >= c.cols) break;
            const Vec x = load_part(c.x + j, c.cols - j);
            const Vec y = gaussian ? fma(amount, noise[i], x) : select(noise[i] < amount, Vec(0.0F), x);
            store_part(y, c.x + j, c.cols - j);
        }
    }
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
