// SPDX-License-Identifier: Apache-2.0
// A formula on a vector is the formula on each lane. Compiled once for each instruction set, with its flags.
//
// Where the fused multiply-add rounds once and the division is exact, every lane has the bits of T = float. The x86-64
// baseline rounds twice and AVX-512 divides within 1 ULP: there each lane must have the bits that it has when its value
// fills the whole vector. Random numbers, gaussians included, have the same bits everywhere.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "check.hpp"
#include "cpu/simd.hpp"
#include "instruction_set.hpp"
#include "math/philox.hpp"
#include "math/registry.hpp"
#include "ulp.hpp"

using namespace isthmus;
using namespace isthmus::cpu::ISTHMUS_ISA;

namespace {

struct Lanes {
    alignas(64) float value[kLanes];

    explicit Lanes(Vec x) { x.store(value); }
    float operator[](int i) const { return value[i]; }
};

struct WordLanes {
    std::uint32_t value[kLanes];

    explicit WordLanes(IVec x) { __builtin_memcpy(value, &x.v, sizeof(value)); }
    std::uint32_t operator[](int i) const { return value[i]; }
};

IVec words(const std::uint32_t* p) {
    IVec x;
    __builtin_memcpy(&x.v, p, sizeof(x.v));
    return x;
}

bool same(float a, float b) { return math::bits(a) == math::bits(b) || (std::isnan(a) && std::isnan(b)); }

// Every 4093rd pattern of all floats, ordinary numbers, NaN and infinities.
std::vector<float> arguments() {
    std::vector<float> x;
    for (std::uint64_t i = 0; i < (std::uint64_t{1} << 32); i += 4093) {
        x.push_back(math::from_bits(static_cast<std::int32_t>(static_cast<std::uint32_t>(i))));
    }
    for (int i = -4096; i < 4096; ++i) x.push_back(static_cast<float>(i) / 128.0F);
    for (const float edge : {0.0F, -0.0F, __builtin_inff(), -__builtin_inff(), __builtin_nanf("")}) x.push_back(edge);
    while (x.size() % kLanes != 0) x.push_back(1.0F);
    return x;
}

// f takes a Vec or a float.
template <class F>
void check_lanes(std::string_view name, const std::vector<float>& x, F&& f) {
    for (std::size_t i = 0; i < x.size(); i += kLanes) {
        const Lanes y(f(Vec::load(&x[i])));
        for (int lane = 0; lane < kLanes; ++lane) {
            const float alone = instruction_set::kScalarBits ? f(x[i + static_cast<std::size_t>(lane)])
                                                             : Lanes(f(Vec(x[i + static_cast<std::size_t>(lane)])))[0];
            if (same(y[lane], alone)) continue;
            char text[160];
            std::snprintf(text, sizeof(text), "%.*s at %a: lane %d has %a, alone %a", static_cast<int>(name.size()),
                          name.data(), static_cast<double>(x[i + static_cast<std::size_t>(lane)]), lane,
                          static_cast<double>(y[lane]), static_cast<double>(alone));
            check::report(false, __FILE__, __LINE__, text);
            return;
        }
    }
}

// A second argument, from 0.5 to 1, made from the first.
float companion(float x) { return math::from_bits((math::bits(x) & 0x007fffff) | 0x3f000000); }
Vec companion(Vec x) { return from_bits((bits(x) & IVec(0x007fffff)) | IVec(0x3f000000)); }

}  // namespace

// Declared first, so run first: the rest would die of an unknown instruction.
TEST(machine_has_the_instruction_set) {
    if (!instruction_set::usable()) std::exit(0);
}

TEST(elementary_functions) {
    ulp::for_each(ulp::Functions{}, [](auto function) {
        std::vector<float> x = arguments();
        for (float& z : x) {
            if (std::isnan(z) ? !function.nan : z < function.low || z > function.high) z = 0.5F * function.high;
        }
        check_lanes(function.name, x, [](auto z) { return decltype(function)::compute(z); });
    });
}

TEST(activations) {
    const std::vector<float> x = arguments();
    ulp::for_each(math::Activations{}, [&](auto act) {
        check_lanes(act.name, x, [&](auto z) { return act.forward(z); });
        check_lanes(act.name, x, [&](auto z) { return act.derivative(z); });
    });
}

TEST(losses) {
    const std::vector<float> x = arguments();
    ulp::for_each(math::Losses{}, [&](auto loss) {
        check_lanes(loss.name, x, [&](auto y) {
            auto value = y, gradient = y;
            loss.evaluate(y, companion(y), value, gradient);
            return value;
        });
        check_lanes(loss.name, x, [&](auto y) {
            auto value = y, gradient = y;
            loss.evaluate(y, companion(y), value, gradient);
            return gradient;
        });
    });
}

TEST(optimizers) {
    const std::vector<float> x = arguments();
    ulp::for_each(math::Optimizers{}, [&](auto optimizer) {
        const auto c = math::make_constants(optimizer.id, 1e-3, 0.9, 0.999, 1e-8, 0.9, 0.01, 3);
        for (int which = 0; which < 3; ++which) {
            check_lanes(optimizer.name, x, [&](auto gradient) {
                auto param = companion(gradient), m = param * param, v = m * param;
                optimizer.update(c, param, gradient, m, v);
                return which == 0 ? param : which == 1 ? m : v;
            });
        }
    });
}

// Over all pairs of significands near the ends and the middle of a binade, where an estimate is worst, and a sample.
TEST(division_is_within_one_ulp) {
    std::vector<float> significands;
    for (std::int32_t i = 0; i < 64; ++i) {
        for (const std::int32_t near : {0x3f800000, 0x3fc00000, 0x3fb504f3, 0x3fffffc0}) {
            significands.push_back(math::from_bits(near + i));
        }
    }
    for (std::int32_t i = 0; i < 256; ++i) significands.push_back(math::from_bits(0x3f800000 + i * 0x7fff + i));
    double worst = 0.0;
    for (const float scale : {0x1p-100F, 1.0F, 0x1p100F}) {
        for (const float b : significands) {
            for (std::size_t i = 0; i < significands.size(); i += kLanes) {
                const Lanes quotient(divide(Vec::load(&significands[i]) * Vec(scale), Vec(b)));
                for (int lane = 0; lane < kLanes; ++lane) {
                    const double a = static_cast<double>(significands[i + static_cast<std::size_t>(lane)] * scale);
                    worst = std::max(worst, ulp::error(quotient[lane], a / static_cast<double>(b)));
                }
            }
        }
    }
    CHECK(worst <= 1.0);
    // Adam's denominator may be as large as a float can be, and its numerator 0.
    const Lanes edge(divide(Vec(1.0F), Vec(3.402823466e38F)));
    CHECK(edge[0] >= 0.0F && edge[0] <= 0x1p-126F);
    CHECK(Lanes(divide(Vec(0.0F), Vec(3.0F)))[kLanes - 1] == 0.0F);
    CHECK(std::isnan(Lanes(divide(Vec(__builtin_nanf("")), Vec(3.0F)))[0]));
    CHECK(std::isnan(Lanes(divide(Vec(1.0F), Vec(__builtin_nanf(""))))[0]));
}

// Over all significands.
TEST(reciprocals_are_within_one_ulp) {
    double worst = 0.0;
    for (std::int32_t i = 0; i < 1 << 23; i += kLanes) {
        alignas(64) float b[kLanes];
        for (int lane = 0; lane < kLanes; ++lane) b[lane] = math::from_bits(0x3f800000 + i + lane);
        const Lanes inverse(reciprocal(Vec::load(b)));
        for (int lane = 0; lane < kLanes; ++lane) {
            worst = std::max(worst, ulp::error(inverse[lane], 1.0 / static_cast<double>(b[lane])));
        }
    }
    CHECK(worst <= 1.0);
    CHECK(std::isnan(Lanes(reciprocal(Vec(__builtin_nanf(""))))[0]));
}

TEST(products_of_unsigned_words) {
    std::uint32_t a[kLanes];
    std::uint32_t b[kLanes];
    for (std::uint32_t round = 0; round < 1000; ++round) {
        for (int i = 0; i < kLanes; ++i) {
            const auto random =
                math::philox(math::counter(math::Purpose::sample, round, static_cast<std::uint32_t>(i)), 5);
            a[i] = round == 0 ? 0xffffffffU : random.word[0];
            b[i] = round == 0 ? 0xffffffffU - static_cast<std::uint32_t>(i) : random.word[1];
        }
        IVec high;
        IVec low;
        mul_hi_lo(words(a), words(b), high, low);
        const WordLanes high_lanes(high);
        const WordLanes low_lanes(low);
        for (int i = 0; i < kLanes; ++i) {
            const std::uint64_t product = static_cast<std::uint64_t>(a[i]) * b[i];
            CHECK(high_lanes[i] == static_cast<std::uint32_t>(product >> 32));
            CHECK(low_lanes[i] == static_cast<std::uint32_t>(product));
        }
    }
}

TEST(random_numbers) {
    std::uint32_t group[kLanes];
    for (std::uint32_t round = 0; round < 20000; ++round) {
        for (int i = 0; i < kLanes; ++i) group[i] = round * kLanes + static_cast<std::uint32_t>(i);
        const std::uint64_t row = (std::uint64_t{round} << 33) | 7;
        const auto random = math::philox(math::noise_counter(words(group), row, round), 0x0123456789abcdefU);
        const auto u = math::uniforms<Vec>(random);
        const auto g = math::gaussians<Vec>(random);
        for (int j = 0; j < 4; ++j) {
            const WordLanes word_lanes(random.word[j]);
            const Lanes uniform_lanes(u.value[j]);
            const Lanes gaussian_lanes(g.value[j]);
            for (int i = 0; i < kLanes; ++i) {
                const auto alone = math::philox(math::noise_counter(group[i], row, round), 0x0123456789abcdefU);
                CHECK(word_lanes[i] == alone.word[j]);
                CHECK(same(uniform_lanes[i], math::uniforms<float>(alone).value[j]));
                CHECK(same(gaussian_lanes[i], math::gaussians<float>(alone).value[j]));
            }
        }
    }
}
