// SPDX-License-Identifier: Apache-2.0
// Four vectors that go through a formula side by side. An elementary function is one chain of some thirty operations of
// four cycles each; a core's scheduler (97 entries on Golden Cove) holds three such chains and then waits. Written as
// four chains in lockstep, the next operation is ready: a vector of tanh takes 4.4 ns instead of 5.1 in a loop of its
// own, of Adam 4.1 instead of 4.5; with eight chains the registers run out and it is 4.8 in both.
//
// Included by kernels.cpp only, once for each instruction set.
#pragma once

#include "cpu/simd.hpp"

namespace isthmus::cpu::ISTHMUS_ISA {

// E is Vec, IVec or Mask; S the scalar that fills all lanes.
template <class E, class S>
struct Group {
    E a, b, c, d;

    ISTHMUS_INLINE Group() = default;
    ISTHMUS_INLINE Group(E a, E b, E c, E d) : a(a), b(b), c(c), d(d) {}
    ISTHMUS_INLINE Group(S x) : a(x), b(x), c(x), d(x) {}

#define ISTHMUS_GROUP(OP)                                        \
    ISTHMUS_INLINE friend Group operator OP(Group x, Group y) {  \
        return {x.a OP y.a, x.b OP y.b, x.c OP y.c, x.d OP y.d}; \
    }
    ISTHMUS_GROUP(+)
    ISTHMUS_GROUP(-)
    ISTHMUS_GROUP(*)
    ISTHMUS_GROUP(/)
    ISTHMUS_GROUP(&)
    ISTHMUS_GROUP(|)
    ISTHMUS_GROUP(^)
#undef ISTHMUS_GROUP

#define ISTHMUS_GROUP(OP)                                                   \
    ISTHMUS_INLINE friend Group<Mask, bool> operator OP(Group x, Group y) { \
        return {x.a OP y.a, x.b OP y.b, x.c OP y.c, x.d OP y.d};            \
    }
    ISTHMUS_GROUP(<)
    ISTHMUS_GROUP(<=)
    ISTHMUS_GROUP(>)
    ISTHMUS_GROUP(>=)
    ISTHMUS_GROUP(==)
    ISTHMUS_GROUP(!=)
#undef ISTHMUS_GROUP

    ISTHMUS_INLINE friend Group operator-(Group x) { return {-x.a, -x.b, -x.c, -x.d}; }
    ISTHMUS_INLINE friend Group operator<<(Group x, int n) { return {x.a << n, x.b << n, x.c << n, x.d << n}; }
    ISTHMUS_INLINE friend Group operator>>(Group x, int n) { return {x.a >> n, x.b >> n, x.c >> n, x.d >> n}; }
};

using Vecs = Group<Vec, float>;
using IVecs = Group<IVec, std::int32_t>;
using Masks = Group<Mask, bool>;

#define ISTHMUS_GROUP(RESULT, NAME, ARGUMENT) \
    ISTHMUS_INLINE RESULT NAME(ARGUMENT x) { return {NAME(x.a), NAME(x.b), NAME(x.c), NAME(x.d)}; }
ISTHMUS_GROUP(IVecs, bits, Vecs)
ISTHMUS_GROUP(Vecs, from_bits, IVecs)
ISTHMUS_GROUP(IVecs, to_int, Vecs)
ISTHMUS_GROUP(Vecs, to_float, IVecs)
ISTHMUS_GROUP(Vecs, sqrt, Vecs)
ISTHMUS_GROUP(Vecs, abs, Vecs)
#if defined(__AVX512F__)
ISTHMUS_GROUP(Vecs, estimate_reciprocal, Vecs)
#endif
#undef ISTHMUS_GROUP

#define ISTHMUS_GROUP(NAME)                                                      \
    ISTHMUS_INLINE Vecs NAME(Vecs x, Vecs y) {                                   \
        return {NAME(x.a, y.a), NAME(x.b, y.b), NAME(x.c, y.c), NAME(x.d, y.d)}; \
    }
ISTHMUS_GROUP(max)
ISTHMUS_GROUP(min)
ISTHMUS_GROUP(copysign)
#undef ISTHMUS_GROUP

ISTHMUS_INLINE Vecs fma(Vecs x, Vecs y, Vecs z) {
    return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b), fma(x.c, y.c, z.c), fma(x.d, y.d, z.d)};
}
#if defined(__AVX512F__)
ISTHMUS_INLINE Vecs negated_fma(Vecs x, Vecs y, Vecs z) {
    return {negated_fma(x.a, y.a, z.a), negated_fma(x.b, y.b, z.b), negated_fma(x.c, y.c, z.c),
            negated_fma(x.d, y.d, z.d)};
}
#endif
ISTHMUS_INLINE Vecs select(Masks m, Vecs x, Vecs y) {
    return {select(m.a, x.a, y.a), select(m.b, x.b, y.b), select(m.c, x.c, y.c), select(m.d, x.d, y.d)};
}

// What a loop over elements reads and writes at a time: four whole vectors, one, or the first lanes of one.
struct FourVectors {
    using T = Vecs;
    static constexpr std::int64_t count = 4 * kLanes;
    ISTHMUS_INLINE Vecs load(const float* p) const {
        return {Vec::load(p), Vec::load(p + kLanes), Vec::load(p + 2 * kLanes), Vec::load(p + 3 * kLanes)};
    }
    // From rows of `vectors` vectors, 1 or 2, `stride` apart.
    ISTHMUS_INLINE Vecs load_rows(const float* p, std::int64_t vectors, std::int64_t stride) const {
        const std::int64_t second = vectors == 1 ? stride : kLanes;
        const std::int64_t third = vectors == 1 ? 2 * stride : stride;
        return {Vec::load(p), Vec::load(p + second), Vec::load(p + third), Vec::load(p + third + second)};
    }
    ISTHMUS_INLINE void store_rows(Vecs x, float* p, std::int64_t vectors, std::int64_t stride) const {
        const std::int64_t second = vectors == 1 ? stride : kLanes;
        const std::int64_t third = vectors == 1 ? 2 * stride : stride;
        x.a.store(p);
        x.b.store(p + second);
        x.c.store(p + third);
        x.d.store(p + third + second);
    }
    ISTHMUS_INLINE void store(Vecs x, float* p) const {
        x.a.store(p);
        x.b.store(p + kLanes);
        x.c.store(p + 2 * kLanes);
        x.d.store(p + 3 * kLanes);
    }
    ISTHMUS_INLINE void store_whole(Vecs x, float* p) const { store(x, p); }
    ISTHMUS_INLINE Vecs keep(Vecs x) const { return x; }
    ISTHMUS_INLINE static Vec sum(Vecs x) { return (x.a + x.b) + (x.c + x.d); }
};

struct OneVector {
    using T = Vec;
    static constexpr std::int64_t count = kLanes;
    ISTHMUS_INLINE Vec load(const float* p) const { return Vec::load(p); }
    ISTHMUS_INLINE void store(Vec x, float* p) const { x.store(p); }
    ISTHMUS_INLINE void store_whole(Vec x, float* p) const { store(x, p); }
    ISTHMUS_INLINE Vec keep(Vec x) const { return x; }
    ISTHMUS_INLINE static Vec sum(Vec x) { return x; }
};

struct FirstLanes {
    using T = Vec;
    std::int64_t count;  // 1 .. kLanes - 1
    ISTHMUS_INLINE Vec load(const float* p) const { return load_part(p, count); }
    ISTHMUS_INLINE void store(Vec x, float* p) const { store_part(x, p, count); }
    ISTHMUS_INLINE void store_whole(Vec x, float* p) const { x.store(p); }
    ISTHMUS_INLINE Vec keep(Vec x) const { return keep_part(x, count); }
    ISTHMUS_INLINE static Vec sum(Vec x) { return x; }
};

// Calls at(first element, what to read there) over n elements. Which elements share a vector depends on n alone.
template <class F>
ISTHMUS_INLINE void for_each_vector(std::int64_t n, F&& at) {
    std::int64_t i = 0;
    for (; i + FourVectors::count <= n; i += FourVectors::count) at(i, FourVectors{});
    for (; i + kLanes <= n; i += kLanes) at(i, OneVector{});
    if (i < n) at(i, FirstLanes{n - i});
}

}  // namespace isthmus::cpu::ISTHMUS_ISA
