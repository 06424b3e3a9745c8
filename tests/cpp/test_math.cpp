// SPDX-License-Identifier: Apache-2.0
// Every formula of math/ with T = float, against the double twins of reference.hpp and libm. The tests walk the
// registries: what is registered is tested.
#include <algorithm>
#include <array>
#include <cfloat>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "math/names.hpp"
#include "math/registry.hpp"
#include "reference.hpp"
#include "ulp.hpp"

using namespace isthmus;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// -24 to 24 in steps of 2^-6, and the magnitudes around which a formula may change its ways.
std::vector<float> arguments() {
    std::vector<float> z;
    for (int i = -24 * 64; i <= 24 * 64; ++i) z.push_back(static_cast<float>(i) / 64.0F);
    for (const float a : {1e-30F, 1e-10F, 1e-5F, 1e-3F, 0.3466F, 0.75179F, 5.657F, 13.2F, 50.0F, 87.4F, 88.8F, 104.0F,
                          200.0F, 1e4F, 1e30F, std::numeric_limits<float>::max()}) {
        z.push_back(a);
        z.push_back(-a);
    }
    z.push_back(std::numeric_limits<float>::min());
    z.push_back(-0.0F);
    return z;
}

std::string say(std::string_view what, double z, double got, double expected) {
    char text[160];
    std::snprintf(text, sizeof(text), "%.*s at %a: %.9g, expected %.9g", static_cast<int>(what.size()), what.data(), z,
                  got, expected);
    return text;
}

// |got - expected| <= absolute + relative |expected|; an overflow to infinity must be one of a float.
void check_close(std::string_view what, double z, float got, double expected, double relative, double absolute) {
    const double overflow = 0x1.ffffffp127;
    const bool close =
        std::fabs(expected) >= overflow
            ? static_cast<double>(got) == std::copysign(ulp::kInfinity, expected)
            : std::fabs(static_cast<double>(got) - expected) <= absolute + relative * std::fabs(expected);
    if (!close) check::report(false, __FILE__, __LINE__, say(what, z, static_cast<double>(got), expected).c_str());
}

// 1 ULP is between 2^-24 and 2^-23 of the value.
constexpr double kUlp = 0x1p-23;

// Every 4093rd float and both ends of the domain.
template <class F>
double worst_error() {
    double worst = 0.0;
    const auto add = [&](float x) {
        if (!(x >= F::low && x <= F::high)) return;
        worst = std::max(worst, ulp::error(F::compute(x), F::reference(static_cast<double>(x))));
    };
    for (std::uint64_t i = 0; i < (std::uint64_t{1} << 32); i += 4093) {
        add(math::from_bits(static_cast<std::int32_t>(static_cast<std::uint32_t>(i))));
    }
    add(F::low);
    add(F::high);
    return worst;
}

}  // namespace

TEST(ulp_error_counts_units_of_the_exact_value) {
    CHECK(ulp::error(1.0F, 1.0) == 0.0);
    CHECK(ulp::error(1.0F + 0x1p-23F, 1.0) == 1.0);
    CHECK(ulp::error(1.0F, 1.0 + 0x1.8p-23) == 1.5);
    CHECK(ulp::error(1.0F, 2.0) == 0x1p22);
    CHECK(ulp::error(kInf, 0x1.fffffep127) == 1.0);
    CHECK(ulp::error(std::numeric_limits<float>::max(), 1e300) == 1.0);
    CHECK(ulp::error(0.0F, 1e-39) == 0.0);
    CHECK(ulp::error(2e-38F, 1e-39) > 1.0);
    CHECK(ulp::error(kNan, kNan) == 0.0);
    CHECK(ulp::error(kNan, 1.0) == ulp::kInfinity && ulp::error(1.0F, std::nan("")) == ulp::kInfinity);
}

TEST(elementary_functions_stay_within_their_bounds) {
    ulp::for_each(ulp::Functions{}, [](auto function) {
        using F = decltype(function);
        const double worst = worst_error<F>();
        if (worst > F::fused) check::report(false, __FILE__, __LINE__, say(F::name, 0.0, worst, F::fused).c_str());
        if (F::nan) CHECK(std::isnan(F::compute(kNan)));
    });
}

TEST(elementary_functions_at_the_edges) {
    CHECK(math::exp(-kInf) == 0.0F && math::exp_of_nonpositive(-kInf) == 0.0F);
    CHECK(math::exp(kInf) == kInf && math::exp(0.0F) == 1.0F && math::exp_of_nonpositive(-0.0F) == 1.0F);
    CHECK(std::isfinite(math::exp(88.7228317F)) && math::exp(88.7228394F) == kInf);
    CHECK(math::expm1(-kInf) == -1.0F && math::expm1(kInf) == kInf && math::expm1(0.0F) == 0.0F);
    CHECK(math::expm1(FLT_MIN) == FLT_MIN);
    CHECK(math::log(0.0F) == -kInf && math::log(kInf) == kInf && math::log(1.0F) == 0.0F);
    CHECK(std::isnan(math::log(-1.0F)) && std::isnan(math::log(-kInf)));
    CHECK(math::log1p(-1.0F) == -kInf && math::log1p(kInf) == kInf && math::log1p(0.0F) == 0.0F);
    CHECK(std::isnan(math::log1p(-1.5F)) && std::isnan(math::log1p(-kInf)));
    CHECK(math::tanh(kInf) == 1.0F && math::tanh(-kInf) == -1.0F && std::signbit(math::tanh(-0.0F)));
    CHECK(math::erf(kInf) == 1.0F && math::erf(-kInf) == -1.0F && std::signbit(math::erf(-0.0F)));
    CHECK(math::sigmoid(-kInf) >= 0.0F && math::sigmoid(-kInf) < FLT_MIN);
    CHECK(math::sigmoid(kInf) == 1.0F && math::sigmoid(0.0F) == 0.5F);
    CHECK(math::softplus(-kInf) == 0.0F && math::softplus(kInf) == kInf);
}

TEST(activations_follow_their_reference) {
    for (const std::string_view name : math::names<Activation>()) {
        const Activation id = *math::parse<Activation>(name);
        // gelu's tail is relative to 2e-5 as far as z = -5.6, where it is 6e-8 in size. What silu makes of a sigmoid
        // below FLT_MIN is at most 128 times that.
        const bool tail = id == Activation::gelu;
        const double relative = tail ? 2e-5 : 3 * kUlp;
        const double absolute = tail ? 1e-10 : 0x1p-119;
        math::visit(id, [&](auto act) {
            for (const float z : arguments()) {
                const double exact = reference::activate(id, static_cast<double>(z));
                check_close(name, static_cast<double>(z), act.forward(z), exact, relative, absolute);
            }
        });
    }
}

TEST(gelu_is_as_good_as_its_tail_wherever_it_counts) {
    for (const float z : arguments()) {
        const double exact = reference::activate(Activation::gelu, static_cast<double>(z));
        check_close("gelu", static_cast<double>(z), math::Gelu::forward(z), exact, 2 * kUlp, 0x1p-25);
    }
}

TEST(derivatives_follow_their_reference) {
    for (const std::string_view name : math::names<Activation>()) {
        const Activation id = *math::parse<Activation>(name);
        math::visit(id, [&](auto act) {
            for (const float z : arguments()) {
                // The worst is tanh, 1 - y^2 with a y that is 1.24 of these off.
                const float from = act.needs_z ? z : act.forward(z);
                const double exact = reference::derivative(id, static_cast<double>(z));
                check_close(name, static_cast<double>(z), act.derivative(from), exact, 0.0, 2.5 * kUlp);
            }
        });
    }
}

TEST(derivatives_are_the_slopes_of_their_activations) {
    const double step = 1e-5;
    for (const std::string_view name : math::names<Activation>()) {
        const Activation id = *math::parse<Activation>(name);
        math::visit(id, [&](auto act) {
            for (const float z : arguments()) {
                if (std::fabs(z) < 1e-3F || std::fabs(z) > 30.0F) continue;  // kinks; where the step is lost in z
                const double at = static_cast<double>(z);
                const double slope =
                    (reference::activate(id, at + step) - reference::activate(id, at - step)) / (2.0 * step);
                check_close(name, at, act.derivative(act.needs_z ? z : act.forward(z)), slope, 1e-6, 1e-6);
            }
        });
    }
}

TEST(activations_at_zero_and_beyond) {
    struct Row {
        Activation id;
        float at_minus_infinity, at_zero, at_infinity, slope_at_zero;
    };
    using enum Activation;
    const float log_2 = 0.693147182F;
    const std::array<Row, 9> rows = {{{linear, -kInf, 0.0F, kInf, 1.0F},
                                      {relu, 0.0F, 0.0F, kInf, 0.0F},
                                      {leaky_relu, -kInf, 0.0F, kInf, 0.01F},
                                      {elu, -1.0F, 0.0F, kInf, 1.0F},
                                      {gelu, 0.0F, 0.0F, kInf, 0.5F},
                                      {silu, 0.0F, 0.0F, kInf, 0.5F},
                                      {softplus, 0.0F, log_2, kInf, 0.5F},
                                      {Activation::sigmoid, 0.0F, 0.5F, 1.0F, 0.25F},
                                      {Activation::tanh, -1.0F, 0.0F, 1.0F, 1.0F}}};
    CHECK(rows.size() == math::Activations::size);
    for (const Row& row : rows) {
        math::visit(row.id, [&](auto act) {
            const float below = act.forward(-kInf);  // a kernel flushes what is no normal float
            CHECK((std::fabs(below) < FLT_MIN ? 0.0F : below) == row.at_minus_infinity);
            CHECK(act.forward(0.0F) == row.at_zero);
            CHECK(act.forward(kInf) == row.at_infinity);
            CHECK(std::isnan(act.forward(kNan)));
            CHECK(act.needs_z == (row.id == gelu || row.id == silu));
            const float slope = act.derivative(act.needs_z ? 0.0F : act.forward(0.0F));
            check_close(act.name, 0.0, slope, static_cast<double>(row.slope_at_zero), kUlp, 0.0);
        });
    }
}

TEST(losses_follow_their_reference) {
    for (const std::string_view name : math::names<Loss>()) {
        const Loss id = *math::parse<Loss>(name);
        math::visit(id, [&](auto loss) {
            CHECK(loss.from_logits == reference::from_logits(id));
            for (const float y : arguments()) {
                if (std::fabs(y) > 1e4F) continue;
                for (const float target : {0.0F, 1e-3F, 0.25F, 0.5F, 1.0F, -2.0F, 17.0F}) {
                    if (loss.from_logits && !(target >= 0.0F && target <= 1.0F)) continue;
                    const double at = static_cast<double>(y);
                    const double t = static_cast<double>(target);
                    float value = kNan;
                    float gradient = kNan;
                    loss.evaluate(y, target, value, gradient);
                    // The difference is rounded once, which bce's products feel in proportion to z.
                    const double absolute = loss.from_logits ? kUlp * std::min(std::fabs(at), 1.0) : 0x1p-126;
                    check_close(name, at, value, reference::loss_value(id, at, t), 3 * kUlp, absolute);
                    const double slope = reference::loss_derivative(id, at, t);
                    check_close(name, at, gradient, slope, 2 * kUlp, loss.from_logits ? 2 * kUlp : 0.0);
                }
            }
        });
    }
}

TEST(loss_gradients_are_the_slopes_of_their_values) {
    const double step = 1e-5;
    for (const std::string_view name : math::names<Loss>()) {
        const Loss id = *math::parse<Loss>(name);
        math::visit(id, [&](auto loss) {
            for (const float y : {-7.0F, -2.5F, -0.625F, -0.125F, 0.375F, 0.875F, 3.5F, 11.0F}) {
                const float target = 0.25F;
                const double at = static_cast<double>(y);
                const double slope =
                    (reference::loss_value(id, at + step, 0.25) - reference::loss_value(id, at - step, 0.25)) /
                    (2.0 * step);
                float value = 0.0F;
                float gradient = 0.0F;
                loss.evaluate(y, target, value, gradient);
                check_close(name, at, gradient, slope, 1e-6, 1e-6);
            }
        });
    }
}

TEST(losses_pass_nan_on_and_are_flat_at_their_target) {
    for (const std::string_view name : math::names<Loss>()) {
        math::visit(*math::parse<Loss>(name), [&](auto loss) {
            for (const auto& [y, target] : {std::pair{kNan, 0.5F}, std::pair{0.5F, kNan}}) {
                float value = 0.0F;
                float gradient = 0.0F;
                loss.evaluate(y, target, value, gradient);
                CHECK(std::isnan(value) && std::isnan(gradient));
            }
            float value = kNan;
            float gradient = kNan;
            loss.evaluate(loss.from_logits ? 0.0F : 0.5F, 0.5F, value, gradient);
            CHECK(gradient == 0.0F);
            CHECK(loss.from_logits || value == 0.0F);
        });
    }
}

namespace {

struct Rule {
    double learning_rate, beta_1, beta_2, epsilon, momentum, weight_decay;
};

math::UpdateConstants constants(Optimizer id, const Rule& r, std::int64_t t) {
    return math::make_constants(id, r.learning_rate, r.beta_1, r.beta_2, r.epsilon, r.momentum, r.weight_decay, t);
}

// The textbook, one line an operation.
struct Twin {
    double param, m = 0.0, v = 0.0;

    void update(Optimizer id, const Rule& r, double g, double t) {
        if (id == Optimizer::adamw) param -= r.learning_rate * r.weight_decay * param;
        if (id != Optimizer::adamw) g += r.weight_decay * param;
        if (id == Optimizer::sgd) {
            m = r.momentum * m + g;
            param -= r.learning_rate * m;
            return;
        }
        m = r.beta_1 * m + (1.0 - r.beta_1) * g;
        v = r.beta_2 * v + (1.0 - r.beta_2) * g * g;
        const double m_hat = m / (1.0 - std::pow(r.beta_1, t));
        const double v_hat = v / (1.0 - std::pow(r.beta_2, t));
        param -= r.learning_rate * m_hat / (std::sqrt(v_hat) + r.epsilon);
    }
};

}  // namespace

TEST(optimizers_follow_a_loop_in_double) {
    const std::array<Rule, 4> rules = {{{1e-3, 0.9, 0.999, 1e-8, 0.0, 0.0},
                                        {1e-2, 0.9, 0.999, 1e-8, 0.9, 0.01},
                                        {5e-2, 0.5, 0.9, 1e-3, 0.5, 0.1},
                                        {1e-3, 0.0, 0.0, 1e-8, 0.0, 0.0}}};
    for (const std::string_view name : math::names<Optimizer>()) {
        const Optimizer id = *math::parse<Optimizer>(name);
        for (const Rule& rule : rules) {
            math::visit(id, [&](auto optimizer) {
                float param = 0.75F;
                float m = 0.0F;
                float v = 0.0F;
                Twin twin{0.75};
                double travelled = 0.0;  // each step rounds in proportion to its length, each sum to that of param
                for (int t = 1; t <= 200; ++t) {
                    const float gradient = std::sin(0.7F * static_cast<float>(t)) + 0.25F * static_cast<float>(t % 3);
                    const double before = twin.param;
                    twin.update(id, rule, static_cast<double>(gradient), t);
                    travelled += std::fabs(twin.param - before);
                    optimizer.update(constants(id, rule, t), param, gradient, m, v);
                    check_close(name, t, param, twin.param, t * 0x1p-24, 8 * kUlp * travelled);
                }
                // 0.999 as a float is 1.3e-8 off, 200 steps of it 2.6e-6.
                check_close(name, 200, m, twin.m, 16 * kUlp, 16 * kUlp);
                check_close(name, 200, v, twin.v, 32 * kUlp, 0.0);
                CHECK(optimizer.uses_m || m == 0.0F);
                CHECK(optimizer.uses_v || v == 0.0F);
            });
        }
    }
}

TEST(first_steps_that_can_be_worked_out_by_hand) {
    // Adam's first step is the learning rate, whatever the gradient's size.
    for (const float gradient : {3e-5F, 0.5F, 4096.0F}) {
        float param = 1.0F, m = 0.0F, v = 0.0F;
        math::Adam::update(constants(Optimizer::adam, {1e-3, 0.9, 0.999, 1e-12, 0.0, 0.0}, 1), param, gradient, m, v);
        check_close("adam", 1, param, 1.0 - 1e-3, kUlp, 0.0);
    }
    // Decay apart: 1 - 0.1 * 0.5 from the decay, 0.1 from the step. Decay in the gradient changes only its sign here.
    float param = 1.0F, m = 0.0F, v = 0.0F;
    math::AdamW::update(constants(Optimizer::adamw, {0.1, 0.9, 0.999, 1e-12, 0.0, 0.5}, 1), param, 2.0F, m, v);
    check_close("adamw", 1, param, 0.85, kUlp, 0.0);
    param = 1.0F, m = 0.0F, v = 0.0F;
    math::Adam::update(constants(Optimizer::adam, {0.1, 0.9, 0.999, 1e-12, 0.0, 0.5}, 1), param, -0.25F, m, v);
    check_close("adam with decay", 1, param, 0.9, kUlp, 0.0);
    // 1 - 0.5 * 1 = 0.5, then the buffer is 0.5 * 1 + 1 = 1.5 and 0.5 - 0.5 * 1.5 = -0.25.
    param = 1.0F, m = 0.0F;
    const auto sgd = constants(Optimizer::sgd, {0.5, 0.9, 0.999, 1e-8, 0.5, 0.0}, 1);
    math::Sgd::update(sgd, param, 1.0F, m, v);
    CHECK(param == 0.5F && m == 1.0F);
    math::Sgd::update(sgd, param, 1.0F, m, v);
    CHECK(param == -0.25F && m == 1.5F);
}

TEST(optimizers_pass_nan_on_and_rest_at_zero) {
    for (const std::string_view name : math::names<Optimizer>()) {
        const Optimizer id = *math::parse<Optimizer>(name);
        const auto c = constants(id, {1e-3, 0.9, 0.999, 1e-8, 0.9, 0.0}, 1);
        math::visit(id, [&](auto optimizer) {
            float param = 0.5F, m = 0.0F, v = 0.0F;
            optimizer.update(c, param, 0.0F, m, v);
            CHECK(param == 0.5F && m == 0.0F && v == 0.0F);
            optimizer.update(c, param, kNan, m, v);
            CHECK(std::isnan(param));
        });
    }
}

namespace {

template <class E>
void check_names(const std::vector<std::string_view>& expected) {
    CHECK(std::ranges::equal(math::names<E>(), expected));
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const E value = static_cast<E>(i);
        CHECK(math::name(value) == expected[i]);
        CHECK(math::parse<E>(expected[i]) == value);
        CHECK(!math::parse<E>(std::string(expected[i]) + " "));
    }
    CHECK(!math::parse<E>(""));
    CHECK(!math::parse<E>("RELU"));
}

}  // namespace

// These words are written in model files: none may change.
TEST(names_go_both_ways) {
    check_names<Activation>({"linear", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh"});
    check_names<Loss>({"mse", "bce", "mae", "huber"});
    check_names<Optimizer>({"adam", "adamw", "sgd"});
    check_names<Schedule>({"constant", "cosine", "linear", "exponential", "plateau"});
    check_names<NoiseKind>({"gaussian", "mask"});
    check_names<Precision>({"float32", "tf32", "bfloat16"});
    check_names<ScalingKind>({"standard", "minmax"});
    check_names<ModelKind>({"autoencoder", "anomaly_detector", "variational_autoencoder"});
    check_names<Missing>({"error", "mask"});
    check_names<PenaltyKind>({"code_l1", "kl"});
}

TEST(visit_calls_the_one_that_was_asked_for) {
    for (const Activation id : {Activation::linear, Activation::silu, Activation::tanh}) {
        CHECK(math::visit(id, [](auto act) { return act.id; }) == id);
    }
    CHECK(math::visit(Loss::bce, [](auto loss) { return loss.name; }) == "bce");
    CHECK(math::visit(Optimizer::sgd, [](auto optimizer) { return optimizer.uses_v; }) == false);
}

TEST(constants_are_rounded_once_from_double) {
    const auto c = constants(Optimizer::adamw, {1e-3, 0.9, 0.999, 1e-8, 0.25, 0.01}, 7);
    CHECK(c.step_size == static_cast<float>(1e-3 / (1.0 - std::pow(0.9, 7.0))));
    CHECK(c.inverse_sqrt_bias_2 == static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(0.999, 7.0))));
    CHECK(c.one_minus_beta_2 == 0.001F && c.epsilon == 1e-8F && c.momentum == 0.25F);
    CHECK(c.shrink == static_cast<float>(1.0 - 1e-5));
    CHECK(constants(Optimizer::sgd, {1e-3, 0.9, 0.999, 1e-8, 0.25, 0.01}, 7).step_size == 1e-3F);
}
