// SPDX-License-Identifier: Apache-2.0
// Rows in pieces on every device: the bits of one table, whatever the sizes of the pieces; going back where training
// diverged; and streams that end, grow or throw in the middle of an epoch.
#include <algorithm>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/stream_survey.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

constexpr std::int64_t kRows = 50;

// Pieces of a table, every third of them empty; from reading `faulty` on, of other rows, or throwing before row
// `fails`.
class Pieces final : public RowStream {
public:
    Pieces(Samples all, std::int64_t size) : all_(all), later_(all), size_(size) {}

    void rewind() override {
        at_ = 0;
        calls_ = 0;
        ++readings;
    }
    std::optional<Samples> next() override {
        const Samples& rows = readings > faulty ? later_ : all_;
        if (readings > faulty && at_ >= fails) throw Interrupted();
        if (calls_++ % 3 == 2) return rows.slice(0, 0);
        if (at_ == rows.rows()) return std::nullopt;
        const std::int64_t first = at_;
        at_ = std::min(rows.rows(), at_ + size_);
        return rows.slice(first, at_ - first);
    }

    Samples samples() {
        Samples shape;
        shape.inputs.cols = all_.inputs.cols;
        shape.inputs.rows = facts.rows;
        shape.stream = this;
        return shape;
    }
    void set_later(Samples later) { later_ = later; }

    int readings = 0;
    int faulty = 1 << 30;
    std::int64_t fails = 1 << 30;

private:
    Samples all_, later_;
    std::int64_t size_, at_ = 0;
    int calls_ = 0;
};

Configuration noisy() {
    Configuration configuration = small_configuration();
    configuration.shuffle = false;
    configuration.input_noise = 0.1;
    return configuration;
}

std::string refusal(Pieces& pieces, const Configuration& configuration = noisy()) {
    try {
        make_autoencoder(cpu::device(), configuration).fit(pieces.samples(), nullptr, {});
    } catch (const Error& error) {
        return error.what();
    }
    return "taken";
}

}  // namespace

TEST(pieces_have_the_bits_of_a_table) {
    const Rows rows = make_rows(kRows, kWidth);
    const std::vector<float> weights = uniform(kRows, 3, 1e-4, 1e-3);
    for (const Device* device : devices()) {
        for (const auto scaling : {std::optional<ScalingKind>(), std::optional(ScalingKind::standard)}) {
            Configuration configuration = noisy();
            configuration.scaling = scaling;
            const Samples all{rows.view(), std::nullopt, weights.data()};
            const Samples some = Samples{rows.view(), std::nullopt, nullptr}.slice(0, 20);
            Autoencoder expected = make_autoencoder(*device, configuration);
            expected.fit(all, &some, {});
            for (const std::int64_t size : {1, 7, 50}) {
                Pieces pieces(all, size);
                Pieces held_out(some, 3);
                const Samples validation = held_out.samples();
                Autoencoder streamed = make_autoencoder(*device, configuration);
                streamed.fit(pieces.samples(), &validation, {});
                CHECK(pieces.readings == 4 && held_out.readings == 4);
                CHECK(pieces.facts.rows == kRows && pieces.facts.weighted && !pieces.facts.sparse);
                CHECK(same_tensors(streamed.store(true).state.tensors, expected.store(true).state.tensors));
                CHECK(same_progress(streamed.state(), expected.state()));
                CHECK(streamed.scaling().shift == expected.scaling().shift);
                CHECK(streamed.scaling().scale == expected.scaling().scale);
            }
        }
    }
}

TEST(a_stream_is_read_again_where_training_went_back) {
    const Rows rows = make_rows(kRows, kWidth);
    const Samples all{rows.view(), std::nullopt, nullptr};
    for (const Device* device : devices()) {
        for (const std::int64_t faulty : {3, 9}) {
            PlantNan plant(faulty);
            PlantNan same_plant(faulty);
            Hooks hooks;
            hooks.reducer = &plant;
            Autoencoder expected = make_autoencoder(*device, noisy());
            CHECK_THROWS(expected.fit(all, nullptr, hooks), ErrorKind::divergence);
            Pieces pieces(all, 7);
            hooks.reducer = &same_plant;
            Autoencoder streamed = make_autoencoder(*device, noisy());
            CHECK_THROWS(streamed.fit(pieces.samples(), nullptr, hooks), ErrorKind::divergence);
            CHECK(streamed.state().step == faulty);
            CHECK(same_tensors(streamed.store(true).state.tensors, expected.store(true).state.tensors));
            CHECK(same_progress(streamed.state(), expected.state()));
        }
    }
}

TEST(what_a_stream_throws_passes_through) {
    const Rows rows = make_rows(kRows, kWidth);
    const Samples all{rows.view(), std::nullopt, nullptr};
    Autoencoder one_epoch = make_autoencoder(cpu::device(), [] {
        Configuration configuration = noisy();
        configuration.epochs = 1;
        return configuration;
    }());
    one_epoch.fit(all, nullptr, {});
    for (const std::int64_t fails : {0, 21}) {
        Pieces pieces(all, 7);
        pieces.faulty = 2;
        pieces.fails = fails;
        Autoencoder model = make_autoencoder(cpu::device(), noisy());
        bool thrown = false;
        bool begun = false;
        Hooks hooks;
        hooks.on_begin = [&] { begun = true; };
        try {
            model.fit(pieces.samples(), nullptr, hooks);
        } catch (const Interrupted&) {
            thrown = true;
        }
        CHECK(thrown && begun && model.state().epoch == 1 && model.state().step == 7);
        CHECK(same_tensors(model.store(true).state.tensors, one_epoch.store(true).state.tensors));
        // From there on it goes to its end.
        Pieces again(all, 11);
        model.resume(noisy(), again.samples(), nullptr, {});
        Autoencoder whole = make_autoencoder(cpu::device(), noisy());
        whole.fit(all, nullptr, {});
        CHECK(same_tensors(model.store(true).state.tensors, whole.store(true).state.tensors));
    }
    Pieces pieces(all, 7);
    pieces.faulty = 0;
    pieces.fails = 21;
    Autoencoder model = make_autoencoder(cpu::device(), noisy());
    const std::vector<float> before = model.weights();
    bool begun = false;
    Hooks hooks;
    hooks.on_begin = [&] { begun = true; };
    try {
        model.fit(pieces.samples(), nullptr, hooks);
        CHECK(false);
    } catch (const Interrupted&) {
        CHECK(!begun && same_bits(model.weights(), before));
    }
}

TEST(readings_must_agree) {
    Rows rows = make_rows(kRows, kWidth);
    const Rows narrow = make_rows(kRows, kWidth - 1);
    const std::vector<float> weights(kRows, 1.0F);
    const Samples all{rows.view(), std::nullopt, nullptr};
    const auto changed = [&](Samples later) {
        Pieces pieces(all, 7);
        pieces.faulty = 1;
        pieces.set_later(later);
        return refusal(pieces);
    };
    CHECK(changed(all.slice(0, 43)) ==
          "X gave 43 rows this time and 50 when it was first read; each reading must give as many");
    const Rows more = make_rows(60, kWidth);
    CHECK(changed({more.view(), std::nullopt, nullptr}).find("X gave 60 rows this time and 50") == 0);
    CHECK(changed({narrow.view(), std::nullopt, nullptr}).find("batch 0 of X has 4 columns") == 0);
    CHECK(changed({rows.view(), std::nullopt, weights.data()}) ==
          "batch 0 of X has sample_weight, unlike in the first reading of X");

    Pieces taken(all, 7);
    CHECK(refusal(taken) == "taken");
    rows.values[5 * kWidth + 2] = std::nanf("");
    Pieces faulty(all, 2);
    CHECK(refusal(faulty) == "batch 3 of X[1, 2] is nan; batch 3 of X must be finite (no NaN, no infinity)");
    Configuration detector = small_configuration();
    detector.kind = ModelKind::anomaly_detector;
    CHECK(refusal(faulty, detector).find("X is a stream of batches, but an anomaly detector") == 0);
    Configuration holds_back = small_configuration();
    holds_back.validation_fraction = 0.2;
    CHECK(refusal(faulty, holds_back).find("validation_fraction holds back rows of an array") == 0);
}
