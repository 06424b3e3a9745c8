// SPDX-License-Identifier: Apache-2.0
// What is done to a row of the code between encoder and decoder.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/isa.hpp"
#include "cpu/simd.hpp"
#include "cpu/vector_group.hpp"
#include "math/gaussian_code.hpp"
#include "math/losses.hpp"
#include "math/top_k.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// The keys wait where the answer goes.
static void keep_largest(const TopKArgs& args) {
    const TopKArgs a = args;
    const auto key_of = [&](std::int64_t j) ISTHMUS_LAMBDA_INLINE {
        std::int32_t key;
        __builtin_memcpy(&key, a.kept + j, sizeof(key));
        return key;
    };
    for (std::int64_t j = 0; j < a.cols; ++j) {
        const std::int32_t key = math::order_key(a.code[j]);
        __builtin_memcpy(a.kept + j, &key, sizeof(key));
    }
    math::KthLargest kth;
    for (; kth.searching();) {
        const std::int32_t candidate = kth.candidate();
        std::int32_t count = 0;
        for (std::int64_t j = 0; j < a.cols; ++j) count += key_of(j) >= candidate ? 1 : 0;
        kth.answer(count >= a.k);
    }
    const std::int32_t last = kth.key();
    std::int64_t above = 0;
    for (std::int64_t j = 0; j < a.cols; ++j) above += key_of(j) > last ? 1 : 0;
    std::int64_t ties = a.k - above;
    for (std::int64_t j = 0; j < a.cols; ++j) {
        const std::int32_t key = key_of(j);
        const bool keep = key > last || (key == last && ties-- > 0);
        a.kept[j] = keep ? 1.0F : 0.0F;
        a.code[j] = keep ? a.code[j] : 0.0F;
    }
}

// |x| and its sign are the loss and gradient of mae with target 0.
static double sum_of_absolutes(const float* x, std::int64_t n) {
    Vec sum(0.0F);
    for_each_vector(n, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
        using T = typename decltype(part)::T;
        T value;
        T sign;
        math::Mae::evaluate(part.load(x + j), T(0.0F), value, sign);
        sum = sum + part.sum(part.keep(value));
    });
    return sum_lanes(sum);
}

static void code_gradient(const CodeGradientArgs& args) {
    const CodeGradientArgs a = args;
    for_each_vector(a.cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
        using T = typename decltype(part)::T;
        T value;
        T sign;
        math::Mae::evaluate(part.load(a.code + j), T(0.0F), value, sign);
        T dcode = fma(T(a.scale), sign, part.load(a.dcode + j));
        if (a.kept != nullptr) dcode = select(part.load(a.kept + j) > T(0.0F), dcode, T(0.0F));
        part.store(dcode, a.dcode + j);
    });
}

static double sample(const SampleArgs& args) {
    const SampleArgs a = args;
    Vec sum(0.0F);
    for_each_vector(a.cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
        const auto mean = part.load(a.parameters + j);
        const auto log_variance = part.load(a.parameters + a.cols + j);
        part.store(math::GaussianCode::draw(mean, log_variance, part.load(a.eps + j)), a.code + j);
        sum = sum + part.sum(part.keep(math::GaussianCode::divergence(mean, log_variance)));
    });
    return sum_lanes(sum);
}

static void sample_gradient(const SampleGradientArgs& args) {
    const SampleGradientArgs a = args;
    for_each_vector(a.cols, [&](std::int64_t j, auto part) ISTHMUS_LAMBDA_INLINE {
        using T = typename decltype(part)::T;
        T dmean;
        T dlog_variance;
        math::GaussianCode::gradient(part.load(a.parameters + j), part.load(a.parameters + a.cols + j),
                                     part.load(a.eps + j), part.load(a.dcode + j), T(a.scale), dmean, dlog_variance);
        part.store(dmean, a.dparameters + j);
        part.store(dlog_variance, a.dparameters + a.cols + j);
    });
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
