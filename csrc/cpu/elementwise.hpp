// SPDX-License-Identifier: Apache-2.0
// Everything that is not a product: losses, activations on their own, the optimizer's update, noise.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/simd.hpp"
#include "math/activations.hpp"
#include "math/losses.hpp"
#include "math/optimizers.hpp"
#include "math/philox.hpp"
#include "math/registry.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// The first `count` (1 .. kLanes) floats at p, the other lanes zero.
ISTHMUS_INLINE Vec load_part(const float* p, std::int64_t count) {
    if (count >= kLanes) return Vec::load(p);
    alignas(64) float part[kLanes] = {};
    for (std::int64_t i = 0; i < count; ++i) part[i] = p[i];
    return Vec::load(part);
}

ISTHMUS_INLINE void store_part(Vec x, float* p, std::int64_t count) {
    if (count >= kLanes) return x.store(p);
    alignas(64) float part[kLanes];
    x.store(part);
    for (std::int64_t i = 0; i < count; ++i) p[i] = part[i];
}

// x in lanes below count, zero in the others, whatever x holds there.
ISTHMUS_INLINE Vec keep_part(Vec x, std::int64_t count) {
    if (count >= kLanes) return x;
    alignas(64) float part[kLanes];
    x.store(part);
    for (std::int64_t i = count; i < kLanes; ++i) part[i] = 0.0F;
    return Vec::load(part);
}

// Lanes in order: a fixed tree would do as well, this one is as accurate as double allows.
ISTHMUS_INLINE double sum_lanes(Vec x) {
    alignas(64) float lane[kLanes];
    x.store(lane);
    double sum = 0.0;
    for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(lane[i]);
    return sum;
}

template <class LossT>
static void loss_with(const LossArgs& l) {
    for (std::int64_t r = 0; r < l.rows; ++r) {
        const float* y = l.y + r * l.y_stride;
        const float* target = l.targets[r];
        const Vec scale(l.dy ? l.row_scale[r] : 0.0F);
        Vec sum(0.0F);
        for (std::int64_t j = 0; j < l.cols; j += kLanes) {
            const std::int64_t rest = l.cols - j;
            Vec value;
            Vec gradient;
            LossT::evaluate(load_part(y + j, rest), load_part(target + j, rest), value, gradient);
            value = keep_part(value, rest);
            sum = sum + value;
            if (l.dy) keep_part(gradient * scale, rest).store(l.dy + r * l.dy_stride + j);
            if (l.values) store_part(value, l.values + r * l.values_stride + j, rest);
        }
        l.sums[r] = sum_lanes(sum);
    }
}

static void loss(const LossArgs& args) {
    math::visit(args.loss, [&](auto which) { loss_with<decltype(which)>(args); });
}

static void activation_forward(Activation activation, std::int64_t n, const float* z, float* y) {
    math::visit(activation, [&](auto act) {
        for (std::int64_t i = 0; i < n; i += kLanes) {
            store_part(decltype(act)::forward(load_part(z + i, n - i)), y + i, n - i);
        }
    });
}

static void activation_backward(Activation activation, std::int64_t n, const float* kept, const float* dy, float* dz) {
    math::visit(activation, [&](auto act) {
        for (std::int64_t i = 0; i < n; i += kLanes) {
            const Vec derivative = decltype(act)::derivative(load_part(kept + i, n - i));
            store_part(load_part(dy + i, n - i) * derivative, dz + i, n - i);
        }
    });
}

template <class Opt>
static bool update_with(const UpdateArgs& u) {
    const math::UpdateConstants constants = *u.constants;
    const Vec scale(u.scale);
    const Vec clip(u.clip);
    Vec bad(0.0F);  // x * 0 is NaN for a NaN or an infinity, and stays NaN in the sum
    const auto step = [&](Vec& param, Vec gradient, Vec& m, Vec& v) ISTHMUS_LAMBDA_INLINE {
        Opt::update(constants, param, gradient * scale * clip, m, v);
        bad = fma(param, Vec(0.0F), bad);
        if constexpr (Opt::uses_v) bad = fma(v, Vec(0.0F), bad);
    };
    for (std::int64_t i = 0; i < u.n; i += kLanes) {
        const std::int64_t rest = u.n - i;
        Vec param = load_part(u.param + i, rest);
        Vec m = Opt::uses_m ? load_part(u.m + i, rest) : Vec(0.0F);
        Vec v = Opt::uses_v ? load_part(u.v + i, rest) : Vec(0.0F);
        step(param, load_part(u.gradient + i, rest), m, v);
        store_part(param, u.param + i, rest);
        if constexpr (Opt::uses_m) store_part(m, u.m + i, rest);
        if constexpr (Opt::uses_v) store_part(v, u.v + i, rest);
    }
    return sum_lanes(bad) == 0.0;
}

static bool update(const UpdateArgs& args) {
    bool finite = true;
    math::visit(args.optimizer, [&](auto opt) { finite = update_with<decltype(opt)>(args); });
    return finite;
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
            math::noise_counter(group, static_cast<std::uint64_t>(c.row_number), c.noise.epoch), c.noise.seed);
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
