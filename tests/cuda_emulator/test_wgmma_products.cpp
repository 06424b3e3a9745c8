// SPDX-License-Identifier: Apache-2.0
// The products on wgmma, emulated: against sums in double of the very planes that are multiplied, and exact on
// integers; the same bits in all orders, for all tiles and grids; how they are cut.
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <random>
#include <set>
#include <utility>

#include "../cpp/check.hpp"
#include "cpu/floating_point.hpp"
#include "cuda/wgmma_products.hpp"
#include "emulated.hpp"
#include "math/registry.hpp"
#include "planes_on_host.hpp"

using namespace emulated;
using namespace isthmus::cuda;
using isthmus::Activation;

namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
    int rows, in, out;
};
// Whole tiles; partial ones in every direction; each of the three with more slices of k than slots; one of all.
constexpr Shape kShapes[] = {{128, 128, 256}, {200, 333, 150}, {130, 600, 70},
                             {70, 130, 600},  {600, 70, 130},  {1, 1, 1}};

enum class Kind { forward, input, weight };
constexpr Kind kKinds[] = {Kind::forward, Kind::input, Kind::weight};

struct Case {
    Kind kind;
    Shape shape;
    int planes = 1;
    WgmmaGrid grid{128, 3};
    bool accumulate = false;
    Activation activation = Activation::linear;
    bool bias = true;
};

// c(m, n) over k, and where its operands stand.
struct Problem {
    int m, n, k;
};
Problem problem(const Case& c) {
    const auto [rows, in, out] = c.shape;
    switch (c.kind) {
        case Kind::forward: return {rows, out, in};
        case Kind::input: return {rows, in, out};
        case Kind::weight: break;
    }
    return {out, in, rows};
}

std::vector<float> noise(std::size_t n, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(n);
    for (float& value : values) value = normal(engine);
    return values;
}

struct Data {
    PlaneMatrix a, b;
    std::vector<float> bias, kept, before, bias_before;
};
std::size_t count(int rows, int cols) { return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols); }
Data data(const Case& c, const std::vector<float>& a, const std::vector<float>& b) {
    const auto [rows, in, out] = c.shape;
    const Problem p = problem(c);
    const bool forward = c.kind == Kind::forward;
    return {forward ? PlaneMatrix(rows, in, c.planes, a) : PlaneMatrix(rows, out, c.planes, a),
            c.kind == Kind::weight ? PlaneMatrix(rows, in, c.planes, b) : PlaneMatrix(out, in, c.planes, b),
            noise(static_cast<std::size_t>(out), 3),
            noise(count(p.m, p.n), 4),
            noise(count(p.m, p.n), 5),
            noise(static_cast<std::size_t>(out), 6)};
}
Data random_data(const Case& c) {
    const auto [rows, in, out] = c.shape;
    const bool forward = c.kind == Kind::forward;
    return data(c, noise(count(rows, forward ? in : out), 1), noise(count(c.kind == Kind::weight ? rows : out, in), 2));
}

struct Result {
    std::vector<float> c, z, sums_of_a;
    bool operator==(const Result& other) const {
        const auto same = [](const std::vector<float>& x, const std::vector<float>& y) {
            return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
        };
        return same(c, other.c) && same(z, other.z) && same(sums_of_a, other.sums_of_a);
    }
};

Result run(const Case& c, const Data& d) {
    const auto [rows, in, out] = c.shape;
    const Problem p = problem(c);
    const emulated::Stream stream;
    const emulated::DeviceArray<float> to(c.accumulate ? d.before : std::vector<float>(count(p.m, p.n), kNan));
    const emulated::DeviceArray<float> z(count(p.m, p.n)), bias(d.bias), kept(d.kept);
    const emulated::DeviceArray<float> sums(c.accumulate ? d.bias_before
                                                         : std::vector<float>(d.bias_before.size(), kNan));
    switch (c.kind) {
        case Kind::forward:
            wgmma_forward({rows, in, out, nullptr, 0, nullptr, c.bias ? bias.data() : nullptr, c.activation, to.data(),
                           z.data(), out, d.a.planes(), d.b.planes()},
                          c.grid, stream.handle);
            break;
        case Kind::input:
            wgmma_backward_input({rows, in, out, nullptr, 0, nullptr, c.activation, kept.data(), to.data(), in,
                                  d.a.planes(), d.b.planes()},
                                 c.grid, stream.handle);
            break;
        case Kind::weight: {
            const PartBuffers parts(stream.handle, true);
            wgmma_backward_weight({rows, in, out, nullptr, 0, nullptr, 0, c.accumulate, to.data(),
                                   c.bias ? sums.data() : nullptr, d.b.planes(), d.a.planes()},
                                  c.grid, parts, stream.handle);
            must(cudaStreamSynchronize(stream.handle));
            break;
        }
    }
    must(cudaStreamSynchronize(stream.handle));
    return {to.values(), z.values(), sums.values()};
}

// What the sums should be, before an epilogue does anything with them.
Exact exact(const Case& c, const Data& d, int m, int n) {
    using At = std::pair<int, int>;
    const auto row_m = [m](int k) { return At(m, k); };
    const auto column_m = [m](int k) { return At(k, m); };
    const auto row_n = [n](int k) { return At(n, k); };
    const auto column_n = [n](int k) { return At(k, n); };
    const int k = problem(c).k;
    switch (c.kind) {
        case Kind::forward: return exact_product(d.a, d.b, k, row_m, row_n);
        case Kind::input: return exact_product(d.a, d.b, k, row_m, column_n);
        case Kind::weight: break;
    }
    return exact_product(d.a, d.b, k, column_m, column_n);
}

// Every step of 16 k cuts a sum that is no larger than the magnitudes to 24 bits, which is 2^-23 of it at most; with
// planes each slice has 24 steps, and its sum is rounded once more. Parts are added, and the bias, or what was there.
double bound(const Case& c, double magnitude) {
    const int slices = (problem(c).k + kWgmmaSlice - 1) / kWgmmaSlice;
    const int steps = c.planes == 1 ? 4 * slices : 24 + slices;
    return (steps + 1 + wgmma_row_parts(c.shape.rows, c.shape.out, c.shape.in).count) * std::ldexp(magnitude, -23);
}

// For each of these tiles.
void check_case(Case c, std::initializer_list<int> all_columns) {
    const Data d = random_data(c);
    const Problem p = problem(c);
    std::vector<Result> results;
    for (const int columns : all_columns) {
        if (c.planes == 3 && columns == 256) continue;
        c.grid.columns = columns;
        results.push_back(run(c, d));
    }
    std::size_t wrong = 0;
    for (int m = 0; m < p.m; ++m) {
        for (int n = 0; n < p.n; ++n) {
            const std::size_t at = count(m, p.n) + static_cast<std::size_t>(n);
            Exact e = exact(c, d, m, n);
            if (c.kind == Kind::forward && c.bias) e.add(d.bias[static_cast<std::size_t>(n)]);
            if (c.kind == Kind::weight && c.accumulate) e.add(d.before[at]);
            for (const Result& got : results) wrong += std::fabs(got.c[at] - e.sum) <= bound(c, e.magnitude) ? 0 : 1;
        }
    }
    CHECK(wrong == 0);
    if (c.kind != Kind::weight) return;
    for (int m = 0; m < p.m; ++m) {
        Exact e;
        for (int plane = 0; plane < c.planes; ++plane) {
            for (int k = 0; k < p.k; ++k) e.add(d.a.value(plane, k, m));
        }
        const auto at = static_cast<std::size_t>(m);
        if (c.accumulate) e.add(d.bias_before[at]);
        for (const Result& got : results) {
            const float sum = got.sums_of_a[at];
            CHECK(c.bias ? std::fabs(sum - e.sum) <= bound(c, e.magnitude) : std::isnan(sum));
        }
    }
}

TEST(products_are_near_the_sums_in_double) {
    for (const Kind kind : kKinds) {
        for (const Shape& shape : kShapes) {
            for (const int planes : {1, 3}) check_case({kind, shape, planes}, {64, 128, 256});
        }
    }
}

TEST(weight_gradients_add_to_what_is_there_and_need_no_bias_gradient) {
    for (const Shape& shape : kShapes) {
        for (const int planes : {1, 3}) {
            check_case({Kind::weight, shape, planes, {128, 5}, true}, {128});
            check_case({Kind::weight, shape, planes, {128, 5}, false, Activation::linear, false}, {64});
        }
    }
}

// Integers whose sums fit 24 bits: of one plane; and of three, where the other operand is -1, 0 or 1.
TEST(integers_are_exact) {
    for (const Kind kind : kKinds) {
        for (const Shape& shape : kShapes) {
            for (int variant = 0; variant < 3; ++variant) {
                Case c{kind, shape, variant == 0 ? 1 : 3};
                const auto [rows, in, out] = shape;
                std::mt19937 engine(7);
                const auto integers = [&](std::size_t n, bool large) {
                    std::vector<float> values(n);
                    for (float& value : values) {
                        value = variant == 0 ? static_cast<float>(static_cast<int>(engine() % 65) - 32)
                                : large      ? static_cast<float>(static_cast<int>(engine() % (1U << 18)) - (1 << 17))
                                : engine() % 16 != 0 ? 0.0F
                                                     : static_cast<float>(static_cast<int>(engine() % 3) - 1);
                    }
                    return values;
                };
                const bool forward = kind == Kind::forward;
                const Data d = data(c, integers(count(rows, forward ? in : out), variant == 1),
                                    integers(count(kind == Kind::weight ? rows : out, in), variant == 2));
                c.bias = kind == Kind::weight && variant != 1;
                const Result got = run(c, d);
                const Problem p = problem(c);
                bool equal = true;
                for (int m = 0; m < p.m; ++m) {
                    for (int n = 0; n < p.n; ++n) {
                        const Exact e = exact(c, d, m, n);
                        if (e.magnitude < std::ldexp(1.0, 24)) {
                            equal = equal && got.c[count(m, p.n) + static_cast<std::size_t>(n)] == e.sum;
                        }
                    }
                }
                CHECK(equal);
                for (int m = 0; c.bias && m < p.m; ++m) {
                    double sum = 0.0;
                    for (int k = 0; k < p.k; ++k) sum += d.a.value(k, m);
                    CHECK(got.sums_of_a[static_cast<std::size_t>(m)] == sum);
                }
            }
        }
    }
}

TEST(all_orders_tiles_and_grids_give_the_same_bits) {
    for (const Kind kind : kKinds) {
        for (const int planes : {1, 3}) {
            for (const Shape& shape : {kShapes[1], kShapes[static_cast<int>(kind) + 2]}) {
                Case c{kind, shape, planes, {128, 1}, kind == Kind::weight};
                const Data d = random_data(c);
                const Result first = run(c, d);
                for (const int columns : {64, 128, 256}) {
                    if (planes == 3 && columns == 256) continue;
                    c.grid = {columns, 100};
                    CHECK(run(c, d) == first);
                }
                c.grid = {planes == 1 ? 256 : 64, 2};
                for (const char* name : kOrders) {
                    const Setting in_order = order(name);
                    CHECK(run(c, d) == first);
                }
            }
        }
    }
}

TEST(epilogues_are_those_of_the_other_products) {
    isthmus::cuda::WgmmaGrid grid{64, 2};
    for (int id = 0; id <= static_cast<int>(Activation::tanh); ++id) {
        const auto activation = static_cast<Activation>(id);
        Case c{Kind::forward, {37, 70, 45}, 1, grid, false, activation};
        const Data d = random_data(c);
        Case linear = c;
        linear.activation = Activation::linear;
        const Result z = run(linear, d);
        const Result y = run(c, d);
        Case back{Kind::input, {37, 70, 45}, 1, grid, false, activation};
        const Data e = random_data(back);
        linear = back;
        linear.activation = Activation::linear;
        const Result dy = run(linear, e);
        const Result dz = run(back, e);
        isthmus::math::visit(activation, [&](auto act) {
            using Act = decltype(act);
            const isthmus::cpu::FloatingPointScope denormals_are_zero;  // as in kernels
            bool equal = true;
            for (std::size_t i = 0; i < z.c.size(); ++i) {
                equal = equal && y.c[i] == Act::forward(z.c[i]) && (!Act::needs_z || y.z[i] == z.c[i]);
            }
            for (std::size_t i = 0; i < dy.c.size(); ++i) {
                equal = equal && (activation == Activation::linear || dz.c[i] == dy.c[i] * Act::derivative(e.kept[i]));
            }
            CHECK(equal);
        });
    }
}

// Three planes are as accurate as float32, and draining is why: with sums of one sign, those that stay with the tensor
// cores are cut 4 times a slice, always towards 0.
TEST(three_planes_are_as_accurate_as_float32) {
    const int k = 4096;
    Case c{Kind::forward, {64, k, 64}, 3, {64, 1}};
    c.bias = false;
    std::mt19937 engine(11);
    std::uniform_real_distribution<float> uniform(0.5F, 1.5F);
    std::vector<float> a(count(64, k)), b(count(64, k));
    for (float& value : a) value = uniform(engine);
    for (float& value : b) value = uniform(engine);
    const Data d = data(c, a, b);
    const Result got = run(c, d);
    double worst = 0.0;
    double worst_chain = 0.0;
    double mean = 0.0;
    for (int m = 0; m < 64; ++m) {
        for (int n = 0; n < 64; ++n) {
            double sum = 0.0;
            float chain = 0.0F;
            for (int i = 0; i < k; ++i) {
                sum += d.a.value(m, i) * d.b.value(n, i);
                chain = std::fmaf(static_cast<float>(d.a.value(m, i)), static_cast<float>(d.b.value(n, i)), chain);
            }
            const double error = got.c[static_cast<std::size_t>(64 * m + n)] / sum - 1.0;
            worst = std::max(worst, std::fabs(error));
            worst_chain = std::max(worst_chain, std::fabs(chain / sum - 1.0));
            mean += error / (64 * 64);
        }
    }
    std::printf("     k %d: worst error %.1e, mean %.1e; of a chain of fused multiply-adds %.1e\n", k, worst, mean,
                worst_chain);
    CHECK(worst < worst_chain);
}

// ---- how products are cut -------------------------------------------------------------------------------------------

TEST(every_piece_is_there_once) {
    for (const auto& [m, n, k] :
         {Problem{1, 1, 1}, Problem{5000, 700, 64}, Problem{100, 3000, 1000}, Problem{4096, 4096, 65}}) {
        for (const RowParts& parts : {RowParts{1, k}, RowParts{(k + 127) / 128, 128}}) {
            const WgmmaPieces all = wgmma_pieces(m, n, k, 128, parts);
            std::set<std::array<int, 3>> seen;
            int slices = 0;
            for (int i = 0; i < all.total(); ++i) {
                const WgmmaPiece piece = wgmma_piece(all, i);
                CHECK(piece.tile_m < all.tiles_m && piece.tile_n < all.tiles_n && piece.part < all.parts);
                CHECK(piece.slices >= 1);
                seen.insert({piece.tile_m, piece.tile_n, piece.part});
                slices += piece.slices;
            }
            CHECK(static_cast<int>(seen.size()) == all.total());
            CHECK(slices == all.tiles_m * all.tiles_n * ((k + kWgmmaSlice - 1) / kWgmmaSlice));
        }
    }
}

TEST(parts_are_whole_slices_and_fit_their_buffers) {
    for (const int out : {1, 64, 128, 129, 512, 784, 4096}) {
        for (const int in : {1, 32, 128, 784, 2048}) {
            for (const int rows : {1, 63, 256, 1000, 4096, 100000}) {
                const RowParts parts = wgmma_row_parts(rows, out, in);
                CHECK(parts.rows % kWgmmaSlice == 0 && parts.count * parts.rows >= rows);
                CHECK((parts.count - 1) * parts.rows < rows);
                if (parts.count == 1) continue;
                CHECK(parts.rows >= 4 * kWgmmaSlice);
                CHECK(parts.count * out * in <= kWgmmaPartFloats && parts.count * out <= kWgmmaBiasPartFloats);
                CHECK((out + 127) / 128 * ((in + 63) / 64) <= kWgmmaPartCounters);
            }
        }
    }
}

TEST(tiles_are_wide_where_there_are_enough_of_them) {
    CHECK(wgmma_grid(4096, 4096, 1, 132).columns == 256);
    CHECK(wgmma_grid(4096, 4096, 3, 132).columns == 128);
    CHECK(wgmma_grid(256, 4096, 1, 132).columns == 64);   // 128 of them, one wave
    CHECK(wgmma_grid(4096, 300, 1, 132).columns == 128);  // 96 of them
    CHECK(wgmma_grid(100000, 128, 1, 132).columns == 128);
    CHECK(wgmma_grid(100000, 64, 1, 132).columns == 64);
    CHECK(wgmma_grid(100000, 64, 1, 132).blocks == 132);
}

TEST(layers_with_a_narrow_side_are_for_other_kernels) {
    CHECK(wgmma_suits(2048, 4096) && wgmma_suits(128, 128) && !wgmma_suits(784, 32) && !wgmma_suits(32, 784));
}

}  // namespace
