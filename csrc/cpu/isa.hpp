// SPDX-License-Identifier: Apache-2.0
// What one instruction set offers: a table of functions, each compiled from the same source (kernels.cpp). All loops
// over elements are behind this table; everything above it is ordinary code.
//
// One order of summation everywhere: each output element is one chain of fused multiply-adds over k in ascending order,
// from its initial value. It does not depend on tiles, threads or the other rows, which is what keeps the bits.
#pragma once

#include <cstdint>

#include "cpu/layout.hpp"
#include "device/contract.hpp"
#include "math/optimizers.hpp"
#include "math/philox.hpp"

namespace isthmus::cpu {

// Stretches of memory that are wanted in L2 soon; whoever has time to fetch takes the next lines.
struct Stretch {
    const float* data;
    std::int64_t lines;
};
struct Ahead {
    const Stretch* stretches;
    std::int64_t count;
    std::int64_t at = 0, line = 0;
};

// y (rows, out) = act(x (rows, in) @ w.T + bias); writes whole vectors, so y_stride >= padded width.
struct ForwardArgs {
    std::int64_t rows, in, out;
    const float* x;
    std::int64_t x_stride;
    const float* panels;                   // PanelLayout{in + 1, out}: the bias is the last row of each panel
    std::int64_t first_panel, last_panel;  // which of them, and so which columns of y
    Activation activation;
    float* y;
    std::int64_t y_stride;
    float* z;      // where z is kept (stride y_stride), or null
    Ahead* ahead;  // or null
    // Where operands are rounded: x, the layer's copies of its weight, and the place of y for the next layer, or null.
    const Pair* x_pairs;
    const float* copies;
    Pair* y_pairs;
};

// dz_below (rows, in) = (dz (rows, out) @ w) * act'(kept); act is that of the layer below.
struct BackwardInputArgs {
    std::int64_t rows, in, out;
    const float* dz;
    std::int64_t dz_stride;
    const float* copies;  // the layer's: panels of PanelLayout{out, in} where operands are not rounded
    Activation activation;
    const float* kept;  // y of the layer below, or its z where the activation needs it; may be dx itself
    std::int64_t kept_stride;
    float* dx;
    std::int64_t dx_stride;
    const Pair* dz_pairs;  // where operands are rounded
    Pair* dx_pairs;        // likewise, or null
};

// Some rows of one panel of the gradient: dw[i][o] = sum over rows of x[r][i] * dz[r][o].
struct WeightGradientArgs {
    std::int64_t rows;
    const float* x;  // at the first input
    std::int64_t x_stride;
    bool packed;          // x comes from pack_columns instead
    std::int64_t inputs;  // rows of dw
    const float* dz;      // at the panel's first column, or what pack_panel made of it
    std::int64_t dz_stride;
    const float* dz_rows;  // at the panel's first column, never packed
    std::int64_t dz_rows_stride;
    std::int64_t panel_width;
    bool bias;        // one more row of dw: sum over rows of dz[r][o]
    bool accumulate;  // go on from what dw holds
    float* dw;
    std::int64_t dw_stride;
    const float* upcoming[3];  // arrays like dw that are wanted in L2 next, or null
};

// param, m, v: n floats; gradient * scale is the gradient that the optimizer sees.
struct UpdateArgs {
    Optimizer optimizer;
    const math::UpdateConstants* constants;
    float scale;
    float* param;
    const float* gradient;
    float* m;
    float* v;
    std::int64_t n;
};

// Loss of whole rows. `y` is the output, for a loss from logits z. `masked`: a NaN target is not observed, as RowSource
// has it; a row is then divided by the number of those that are, and row_scale multiplied by what of all they are.
struct LossArgs {
    Loss loss;
    std::int64_t rows, cols;
    const float* y;
    std::int64_t y_stride;
    const float* const* targets;  // a pointer for each row
    const float* row_scale;       // dy is multiplied by it; unused without dy
    double divisor;
    double* errors;  // sum over the row's elements, divided
    float* dy;       // whole vectors, padded lanes zero; may be y; null: none
    std::int64_t dy_stride;
    float* values;  // each element's loss (rows, cols), or null; not together with dy
    std::int64_t values_stride;
    bool masked = false;
};

struct CorruptArgs {
    math::Purpose purpose;
    Noise noise;
    std::int64_t row_number;
    std::int64_t cols;
    float* x;  // one row, in place
};

// One row of a code: all but its k largest units become 0 in place, and kept[j] 1 where unit j was kept, else 0.
struct TopKArgs {
    std::int64_t cols, k;
    float* code;
    float* kept;
};

// dcode[j] += scale * sign(code[j]), then 0 where kept, if given, is.
struct CodeGradientArgs {
    std::int64_t cols;
    const float* code;
    const float* kept;
    float scale;
    float* dcode;
};

// One row of a code that is drawn (math/gaussian_code.hpp): cols means, and as many log variances behind them.
struct SampleArgs {
    std::int64_t cols;
    const float* parameters;
    const float* eps;
    float* code;
};

// From the gradient by the code, and the weight of the divergence in it, to that by the parameters.
struct SampleGradientArgs {
    std::int64_t cols;
    const float* parameters;
    const float* eps;
    const float* dcode;
    float scale;
    float* dparameters;
};

// x (rows, cols) = the rows pointed to.
struct GatherArgs {
    std::int64_t rows, cols;
    const float* const* from;
    float* x;
    std::int64_t x_stride;
};

// A tile of a layer's weight has changed: the copies that its products read.
struct CopyArgs {
    const float* panels;  // PanelLayout{in + 1, out}
    std::int64_t in, out, panel, begin, end;
    bool input_gradient;
    float* copies;
};

// The products of a dense layer in one precision, with the packing of their operands. The elements that they leave
// are float32 in every precision.
struct Products {
    const char* name;
    bool rounds;  // operands to bfloat16

    void (*dense_forward)(const ForwardArgs&);
    void (*dense_backward_input)(const BackwardInputArgs&);
    void (*weight_gradient)(const WeightGradientArgs&);
    // Columns of x as weight_gradient reads them.
    void (*pack_columns)(std::int64_t rows, const float* x, std::int64_t x_stride, std::int64_t inputs, float* out);
    // A panel's columns of dz, likewise.
    void (*pack_panel)(std::int64_t rows, const float* dz, std::int64_t dz_stride, std::int64_t width, float* out);
    void (*copy_weights)(const CopyArgs&);
    // Rows of x, where operands are rounded.
    void (*round)(std::int64_t rows, std::int64_t cols, const float* x, std::int64_t x_stride, Pair* pairs);
};

inline constexpr int kMostTileRows = 16;

struct InstructionSet {
    const char* name;
    int lanes;
    int panel;
    int tile_rows;  // at most kMostTileRows

    Products products;  // in float32
    // True when every new param and v is finite.
    bool (*update)(const UpdateArgs&);
    void (*loss)(const LossArgs&);
    // n contiguous elements, in place allowed.
    void (*activation_forward)(Activation, std::int64_t n, const float* z, float* y);
    void (*activation_backward)(Activation, std::int64_t n, const float* kept, const float* dy, float* dz);
    void (*gather)(const GatherArgs&);
    void (*corrupt)(const CorruptArgs&);
    void (*keep_largest)(const TopKArgs&);
    // Sum of the absolute values of n floats.
    double (*sum_of_absolutes)(const float* x, std::int64_t n);
    void (*code_gradient)(const CodeGradientArgs&);
    // Gives the sum of the divergences.
    double (*sample)(const SampleArgs&);
    void (*sample_gradient)(const SampleGradientArgs&);
    bool (*all_finite)(std::int64_t rows, std::int64_t cols, const float* x, std::int64_t stride);
    // out = a + b.
    void (*sum)(std::int64_t n, const float* a, const float* b, float* out);
    // Sum of the squares of n floats times scale.
    double (*sum_of_squares)(const float* x, std::int64_t n, float scale);
    // The transpose of a matrix (columns, depth) as one panel: to[k * width + c] = from[c][k], zero for c from columns
    // on.
    void (*pack_transposed)(MatrixView from, std::int64_t width, float* to);
    // And back: to[c][k] = from[k * width + c].
    void (*unpack_transposed)(const float* from, std::int64_t width, MutableMatrixView to);
};

#ifdef ISTHMUS_HAS_BASELINE
namespace baseline {
extern const InstructionSet kInstructionSet;
}
#endif
#ifdef ISTHMUS_HAS_AVX2
namespace avx2 {
extern const InstructionSet kInstructionSet;
}
#endif
#ifdef ISTHMUS_HAS_AVX512
namespace avx512 {
extern const InstructionSet kInstructionSet;
}
#endif
#ifdef ISTHMUS_HAS_NEON
namespace neon {
extern const InstructionSet kInstructionSet;
}
#endif

// The families of instructions that multiply bfloat16, for layouts of the instruction set avx512.
#ifdef ISTHMUS_HAS_AVX512BF16
namespace avx512bf16 {
extern const Products kProducts;
}
#endif
#ifdef ISTHMUS_HAS_AMX
namespace amx {
extern const Products kProducts;
}
#endif

// The one in use; see cpu.hpp for how it is chosen.
const InstructionSet& active_instruction_set();

// Of the instruction set in use; Error(runtime) where it or the machine cannot.
const Products& active_products(Precision precision);

}  // namespace isthmus::cpu
