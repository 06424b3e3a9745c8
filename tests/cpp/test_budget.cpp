// SPDX-License-Identifier: Apache-2.0
// What a fit takes is told before it is taken, and kept: sizes as a pure function, and feeds that obey what is left.
#include "core/budget.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "check.hpp"
#include "core/row_feed.hpp"
#include "training_fixture.hpp"

using namespace fixture;

namespace {

FitSize size_of(std::int64_t rows) {
    FitSize size;
    size.rows = rows;
    size.n_threads = 1;
    return size;
}

Configuration wide() {
    Configuration configuration;
    configuration.encoder_layers = {{1000, 10}};
    return configuration;
}

MemoryNeed need_of(const Configuration& configuration, const FitSize& size, std::int64_t n_features = 100) {
    return memory_need(resolve_widths(configuration, n_features), configuration, size);
}

template <class Body>
std::string refusal(Body&& body) {
    try {
        body();
        return "taken";
    } catch (const Error& error) {
        return (error.kind() == ErrorKind::memory ? "" : "another kind: ") + std::string(error.what());
    }
}

}  // namespace

TEST(needs_follow_from_sizes) {
    // 100-1000-10-1000-100: weights and biases, each a multiple of 16 floats.
    const double flat = 4.0 * (100'000 + 1008 + 10'000 + 16 + 10'000 + 1008 + 100'000 + 112);
    Configuration plain = wide();
    CHECK(need_of(plain, size_of(1000)).parameters == 7.0 * flat);
    FitSize checkpoints = size_of(1000);
    checkpoints.checkpoints = true;
    CHECK(need_of(plain, checkpoints).parameters == 13.0 * flat);
    Configuration best = wide();
    best.patience = 3;
    CHECK(need_of(best, size_of(1000)).parameters == 8.0 * flat);
    CHECK(need_of(best, checkpoints).parameters == 16.0 * flat);
    best.restore_best = false;
    CHECK(need_of(best, size_of(1000)).parameters == 7.0 * flat);
    Configuration clipped = wide();
    clipped.clip_norm = 1.0;
    CHECK(need_of(clipped, size_of(1000)).parameters == 8.0 * flat);

    // A batch is at most the rows there are, and goes through the network 1024 rows at a time.
    const auto batch = [&](std::int64_t batch_size, std::int64_t rows) {
        Configuration configuration = wide();
        configuration.batch_size = batch_size;
        return need_of(configuration, size_of(rows)).batch;
    };
    CHECK(batch(256, 1000) == 256 * batch(1, 1000) && batch(256, 100) == 100 * batch(1, 1000));
    CHECK(batch(100'000, 100'000) == 1024 * batch(1, 1000));
    CHECK(batch(1, 1) >= 4.0 * (2 * (100 + 1000 + 10 + 1000) + 100));

    CHECK(need_of(plain, size_of(2000)).rows == 2.0 * need_of(plain, size_of(1000)).rows);
    CHECK(need_of(plain, size_of(1000)).rows == 16'000.0);
    FitSize more = size_of(1000);
    more.has_weights = more.holds_back = true;
    plain.validation_fraction = 0.5;
    CHECK(need_of(plain, more).rows == 1000 * (16.0 + 4.0 + 8.0 + 0.5 * 400.0));
    // Nothing overflows.
    Configuration absurd;
    absurd.encoder_layers = {{std::int64_t{1} << 29}};
    CHECK(std::isfinite(need_of(absurd, size_of(std::int64_t{1} << 62), std::int64_t{1} << 30).total()));
}

TEST(tied_sparse_and_drawn_codes_need_more) {
    const MemoryNeed plain = need_of(wide(), size_of(1000));
    Configuration tied = wide();
    tied.tied_weights = true;  // as many panels on the device, and a whole gradient
    CHECK(7.0 * need_of(tied, size_of(1000)).parameters == 8.0 * plain.parameters);
    Configuration sparse = wide();
    sparse.code_topk = 3;
    const double batch = 4.0 * 256.0;
    CHECK(need_of(sparse, size_of(1000)).batch == plain.batch + batch * 3.0 * (10.0 + 32.0));
    Configuration drawn = wide();
    drawn.kind = ModelKind::variational_autoencoder;
    CHECK(need_of(drawn, size_of(1000)).batch == plain.batch + batch * (3.0 * (10.0 + 32.0) + 2.0 * 10.0));
    CHECK(need_of(drawn, size_of(1000)).parameters > plain.parameters);
}

TEST(what_is_too_much_is_refused_with_the_bytes) {
    const Widths widths = resolve_widths(wide(), 100);
    CHECK(refusal([&] { check_memory(widths, 0); }) == "taken");
    CHECK(refusal([&] { check_memory(widths, 10'000'000); }) == "taken");
    CHECK(refusal([&] { check_memory(widths, 6'000'000); }) ==
          "encoder_layers, decoder_layers: a network of widths [100,1000,10,1000,100] takes 6.22e+06 bytes of "
          "weights "
          "and moments; max_memory is 6000000");
    CHECK(refusal([&] { check_memory({{1 << 30, 1 << 29, 1 << 30}, 1}, 0); }).find("; this machine has ") !=
          std::string::npos);

    const MemoryNeed need{1000.0, 200.0, 30.0};
    CHECK(refusal([&] { MemoryBudget(need, 1230).check(0.0); }) == "taken");
    CHECK(refusal([&] { MemoryBudget(need, 0).check(1e18); }) == "taken");
    CHECK(
        refusal([&] { MemoryBudget(need, 1229).check(0.0); }) ==
        "max_memory is 1229 bytes, but this fit takes 1230: 1000 of weights, moments and their copies, 200 of a batch, "
        "30 of rows");
    MemoryBudget budget(need, 1300);
    CHECK(budget.room() == 70.0 && refusal([&] { budget.check(70.0); }) == "taken");
    CHECK(refusal([&] { budget.check(71.0); })
              .find("takes 1301: 1000 of weights, moments and their copies, 200 of a "
                    "batch, 101 of rows") != std::string::npos);
    budget.take(60.0);
    CHECK(budget.room() == 10.0 && refusal([&] { budget.check(11.0); }).find("takes 1301") != std::string::npos);
    const double machine = MemoryBudget(need, 0).room();
    CHECK(machine > 1e6 && machine < 1e15);
}

TEST(a_feed_copies_what_there_is_room_for) {
    const std::vector<double> values(2000 * 10, 0.25);
    const Table table(values.data(), Number::f64, 2000, 10, 80, 8);
    const Samples samples{table, std::nullopt, nullptr};
    const Passage passage;
    CHECK(copy_bytes(samples, passage) == 80'000.0);
    CHECK(copy_bytes({table, table, nullptr}, passage) == 160'000.0);
    CHECK(copy_bytes(samples, {Loss::bce, nullptr, true}) == 160'000.0);
    const std::vector<float> floats(2000 * 10);
    CHECK(copy_bytes({MatrixView{floats.data(), 2000, 10, 10}, std::nullopt, nullptr}, passage) == 0.0);
    CHECK(least_copy_bytes(samples, passage) == 80'000.0);
    const Table large(values.data(), Number::f64, 100'000'000, 10, 80, 8);
    CHECK(least_copy_bytes({large, std::nullopt, nullptr}, passage) == 16.0 * (1 << 20));
    const std::vector<double> means;
    Passage masked = passage;
    masked.means = &means;  // targets are a copy of their own
    CHECK(least_copy_bytes({large, std::nullopt, nullptr}, masked) == 32.0 * (1 << 20));

    // Of a stream: rows, what is put into them, and a weight and three numbers for each.
    const double part = 4.0 * ((1 << 18) / 10 * 10);
    const auto stretch = static_cast<double>((1 << 22) / (10 * 256) * 256);
    const double bytes = stream_bytes_of_steps({large, std::nullopt, nullptr}, {}, 256);
    CHECK(bytes == stretch * (40.0 + 28.0) + part);
    CHECK(stream_bytes_of_steps({large, std::nullopt, nullptr}, {}, 1 << 20) > 68.0 * (1 << 20));
    CHECK(stream_bytes_of_steps({large, std::nullopt, nullptr}, masked, 256) > bytes + stretch * 40.0);
    FitSize streamed = size_of(0);
    streamed.streamed = true;
    CHECK(need_of(wide(), streamed).rows == 0.0 && need_of(wide(), streamed).batch > 0.0);

    CHECK(RowFeed(samples, passage, kRowNames, RowFeed::Copy::by_size, 80'000.0).copied_bytes() == 80'000.0);
    // In stretches it is only checked at first, and all of these rows fit one.
    RowFeed stretches(samples, passage, kRowNames, RowFeed::Copy::by_size, 79'999.0);
    const RowSource block = stretches.block(5, 100);
    CHECK(block.rows() == 100 && stretches.copied_bytes() == 100 * 10 * 4.0);
}

TEST(a_fit_obeys_max_memory) {
    const Rows rows = make_rows(60, kWidth);
    const std::vector<double> values(rows.values.begin(), rows.values.end());
    const Samples samples{Table(values.data(), Number::f64, 60, kWidth, 8 * kWidth, 8), std::nullopt, nullptr};
    const auto refused_at = [&](Autoencoder& model, std::int64_t max_memory) {
        return refusal([&] { model.fit(samples, nullptr, {}, {}, max_memory); });
    };
    CompileOptions options;
    options.n_threads = 1;
    Autoencoder whole(small_configuration(), kWidth, 11, cpu::device(), options);
    const std::vector<float> before = whole.weights();
    const std::string refused = refused_at(whole, 100);
    CHECK(refused.starts_with("max_memory is 100 bytes, but this fit takes "));
    CHECK(refusal([&] { whole.partial_fit(samples, {}, 100); }).starts_with("max_memory is 100 bytes"));
    CHECK(same_bits(whole.weights(), before) && whole.state().step == 0);
    const auto needed = static_cast<std::int64_t>(std::stoll(refused.substr(refused.find("takes ") + 6)));
    CHECK(refused_at(whole, needed - 1).find("but this fit takes " + std::to_string(needed)) != std::string::npos);
    CHECK(refused_at(whole, needed) == "taken");
    Autoencoder unlimited(small_configuration(), kWidth, 11, cpu::device(), options);
    unlimited.fit(samples, nullptr, {});
    CHECK(same_bits(whole.weights(), unlimited.weights()));
}
