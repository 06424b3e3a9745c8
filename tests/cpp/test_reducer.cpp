// SPDX-License-Identifier: Apache-2.0
// The seam between machines: two models that each see half of every batch, and a reducer that adds up, get the weights
// of one model that sees all of it.
#include <array>
#include <barrier>
#include <exception>
#include <thread>

#include "check.hpp"
#include "math/names.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

// Adds up what two threads bring, in the order of the machines, so that both take the same bits home.
class Sum {
public:
    class Seat final : public Reducer {
    public:
        Seat(Sum& sum, std::size_t machine) : sum_(sum), machine_(machine) {}
        void reduce(std::span<float> gradient, double& loss_sum, double& weight_sum, double& penalty_sum) override {
            sum_.parts_[machine_] = {{gradient.begin(), gradient.end()}, loss_sum, weight_sum, penalty_sum};
            sum_.barrier_.arrive_and_wait();
            const auto& [a, b] = sum_.parts_;
            for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = a.gradient[i] + b.gradient[i];
            loss_sum = a.loss_sum + b.loss_sum;
            weight_sum = a.weight_sum + b.weight_sum;
            penalty_sum = a.penalty_sum + b.penalty_sum;
            sum_.barrier_.arrive_and_wait();
        }

    private:
        Sum& sum_;
        std::size_t machine_;
    };

private:
    struct Part {
        std::vector<float> gradient;
        double loss_sum = 0.0, weight_sum = 0.0, penalty_sum = 0.0;
    };
    std::barrier<> barrier_{2};
    std::array<Part, 2> parts_;
};

// Rows of one machine: of each batch of 2 * half rows, its half.
Rows share(const Rows& all, std::int64_t half, std::int64_t machine) {
    Rows rows{{}, all.cols};
    for (std::int64_t first = 0; first < all.rows(); first += 2 * half) {
        const std::int64_t count = std::min(2 * half, all.rows() - first) / 2;
        const float* begin = all.view().row(first + machine * count);
        rows.values.insert(rows.values.end(), begin, begin + count * all.cols);
    }
    return rows;
}

struct Pair {
    Trained first, second;
};

// Both halves of a fit, each on a thread of its own. What one throws, the other throws too: it sees the same sums.
void fit_both(Pair& pair, const std::array<RowSource, 2>& sources) {
    Sum sum;
    std::array<Sum::Seat, 2> seats{Sum::Seat{sum, 0}, Sum::Seat{sum, 1}};
    std::array<std::exception_ptr, 2> thrown;
    const auto train = [&](std::size_t machine) {
        Hooks hooks;
        hooks.reducer = &seats[machine];
        try {
            (machine == 0 ? pair.first : pair.second).fit(sources[machine], nullptr, hooks);
        } catch (...) {
            thrown[machine] = std::current_exception();
        }
    };
    std::thread other(train, 1);
    train(0);
    other.join();
    CHECK((thrown[0] == nullptr) == (thrown[1] == nullptr));
    if (thrown[0]) std::rethrow_exception(thrown[0]);
}

Configuration in_order() {
    Configuration configuration = small_configuration();
    configuration.shuffle = false;
    configuration.batch_size = 16;
    return configuration;
}

}  // namespace

TEST(two_halves_are_a_whole) {
    const Rows all = make_rows(40, 5);  // batches of 16, 16 and 8
    const std::array<Rows, 2> halves{share(all, 8, 0), share(all, 8, 1)};
    std::vector<float> weights = uniform(40, 3, 0.5, 1.5);
    const Rows weight_rows{weights, 1};
    const std::array<Rows, 2> weight_halves{share(weight_rows, 8, 0), share(weight_rows, 8, 1)};
    for (const Device* device : devices()) {
        for (std::size_t i = 0; i < math::names<Optimizer>().size(); ++i) {
            for (const bool clipped : {false, true}) {
                Configuration configuration = in_order();
                configuration.optimizer = static_cast<Optimizer>(i);
                if (clipped) configuration.clip_norm = 0.05;
                Trained whole(*device, configuration, 5);
                RowSource source = all.source();
                source.weights = weights.data();
                whole.fit(source);

                configuration.batch_size = 8;
                Pair pair{{*device, configuration, 5}, {*device, configuration, 5}};
                std::array<RowSource, 2> sources{halves[0].source(), halves[1].source()};
                sources[0].weights = weight_halves[0].values.data();
                sources[1].weights = weight_halves[1].values.data();
                fit_both(pair, sources);

                CHECK(same_tensors(pair.first.state.tensors, pair.second.state.tensors));
                CHECK(pair.first.state.history.loss == pair.second.state.history.loss);
                // A float sum of two halves is not that of the whole: 1e-6 over 9 steps.
                CHECK(relative_error(pair.first.state.tensors.params, whole.state.tensors.params) < 1e-6);
                for (std::size_t e = 0; e < 3; ++e) {
                    CHECK(std::abs(pair.first.state.history.loss[e] / whole.state.history.loss[e] - 1.0) < 1e-6);
                }
            }
        }
    }
}

TEST(where_sums_are_exact_so_are_the_weights) {
    // Small integers, weights in quarters, 4 features, 16 rows: every product and sum fits a float's 24 bits.
    Rows all = make_rows(16, 4);
    for (float& value : all.values) value = std::round(2.0F * value);
    const std::array<Rows, 2> halves{share(all, 8, 0), share(all, 8, 1)};
    for (const Device* device : devices()) {
        Configuration configuration = in_order();
        configuration.encoder_layers = {3};
        configuration.optimizer = Optimizer::sgd;
        configuration.learning_rate = 0.125;
        configuration.epochs = 1;
        const auto with_quarters = [](Trained trained) {
            for (float& value : trained.state.tensors.params) value = std::round(4.0F * value) / 4.0F;
            trained.model->write(trained.state.tensors);
            return trained;
        };
        Trained whole = with_quarters({*device, configuration, 4});
        const std::vector<float> before = whole.state.tensors.params;
        whole.fit(all.source());
        configuration.batch_size = 8;
        Pair pair{with_quarters({*device, configuration, 4}), with_quarters({*device, configuration, 4})};
        fit_both(pair, {halves[0].source(), halves[1].source()});
        CHECK(!same_bits(whole.state.tensors.params, before));
        CHECK(same_tensors(pair.first.state.tensors, whole.state.tensors));
        CHECK(same_tensors(pair.second.state.tensors, whole.state.tensors));
    }
}

TEST(both_halves_diverge_at_the_same_step) {
    const Rows all = make_rows(40, 5);
    const std::array<Rows, 2> halves{share(all, 8, 0), share(all, 8, 1)};
    for (const Device* device : devices()) {
        Configuration configuration = in_order();
        configuration.activation = Activation::linear;
        configuration.optimizer = Optimizer::sgd;
        configuration.learning_rate = 1e6;
        configuration.batch_size = 8;
        Pair pair{{*device, configuration, 5}, {*device, configuration, 5}};
        CHECK_THROWS(fit_both(pair, {halves[0].source(), halves[1].source()}), ErrorKind::divergence);
        CHECK(pair.first.state.step == pair.second.state.step && pair.first.state.step < 9);
        CHECK(same_tensors(pair.first.state.tensors, pair.second.state.tensors));
    }
}
