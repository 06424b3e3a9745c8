// SPDX-License-Identifier: Apache-2.0
// isthmus/autoencoder.hpp: that it says what the C interface says, owns what it should, and throws what it should.
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <isthmus/autoencoder.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

int failures = 0;

void check(bool passed, int line, const char* what) {
    if (passed) return;
    ++failures;
    std::printf("test_face.cpp:%d: failed: %s\n", line, what);
}
#define CHECK(condition) check(static_cast<bool>(condition), __LINE__, #condition)

template <class Expected, class Body>
bool throws(Body&& body) {
    try {
        body();
    } catch (const Expected&) {
        return true;
    } catch (...) {
    }
    return false;
}

constexpr int kRows = 60;
constexpr int kFeatures = 6;

std::vector<float> numbers() {
    std::vector<float> x(kRows * kFeatures);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = 0.5F + 0.4F * static_cast<float>(std::sin(0.3 * static_cast<double>(i)));
    return x;
}

void parameters() {
    const isthmus::Parameters all{
        {"encoder_layers", {4, 2}}, {"loss", "bce"},      {"epochs", 3},
        {"learning_rate", 1e-3},    {"shuffle", false},   {"random_state", 18446744073709551615U},
        {"clip_norm", nullptr},     {"min_delta", 0.25F}, {"batch_size", std::int64_t{16}}};
    const isthmus::Autoencoder model(kFeatures, all);
    const std::string known = model.parameters();
    for (const char* part : {"\"encoder_layers\":[4,2]", "\"loss\":\"bce\"", "\"epochs\":3", "\"learning_rate\":0.001",
                             "\"shuffle\":false", "\"random_state\":18446744073709551615", "\"clip_norm\":null",
                             "\"min_delta\":0.25", "\"batch_size\":16"}) {
        CHECK(known.find(part) != std::string::npos);
    }
    isthmus::Parameters text;
    text.set("loss", std::string("a\"b\\c\n"));
    CHECK(text.json() == "{\"loss\": \"a\\\"b\\\\c\\u000a\"}");
    CHECK(throws<isthmus::ValueError>([&] { isthmus::Autoencoder(kFeatures, text); }));
    CHECK(throws<isthmus::ValueError>([] { isthmus::Autoencoder(kFeatures, {{"epoch", 1}}); }));
    CHECK(throws<isthmus::TypeError>([] { isthmus::Autoencoder(kFeatures, {{"epochs", "1"}}); }));
    CHECK(throws<isthmus::RuntimeError>([] { isthmus::Autoencoder(kFeatures, {{"precision", "tf32"}}, {"cpu", 0}); }));
}

void training() {
    const std::vector<float> x = numbers();
    const isthmus::Rows rows(x.data(), kRows, kFeatures);
    isthmus::Autoencoder model(kFeatures, {{"encoder_layers", {4, 2}}, {"epochs", 4}, {"random_state", 0}});
    const std::vector<float> weights(kRows, 1.0F);
    std::vector<double> losses;
    isthmus::FitOptions options;
    options.sample_weight = weights;
    options.validation = rows;
    options.on_epoch_end = [&](const isthmus::Epoch& epoch) {
        losses.push_back(epoch.loss);
        CHECK(!std::isnan(epoch.val_loss));
        return epoch.epoch == 3;
    };
    CHECK(model.fit(rows, options) == ISTHMUS_STOPPED);
    CHECK(losses == model.history(ISTHMUS_HISTORY_LOSS));
    CHECK(losses.size() == 3 && model.info().epochs == 3 && model.info().loss == losses.back());
    CHECK(model.history(ISTHMUS_HISTORY_VAL_LOSS).size() == 3);

    options.on_epoch_end = [](const isthmus::Epoch&) -> bool { throw std::out_of_range("from the callback"); };
    CHECK(throws<std::out_of_range>([&] { model.fit(rows, options); }));
    options.on_epoch_end = nullptr;
    options.should_stop = [] { return true; };
    CHECK(model.fit(rows, options) == ISTHMUS_STOPPED);
    model.partial_fit(rows);
    model.partial_fit(rows, isthmus::View<const float>(weights));
    CHECK(throws<isthmus::ValueError>([&] { model.configure({{"encoder_layers", {3}}}); }));
    model.configure({{"encoder_layers", {4, 2}}, {"epochs", 1}});
    CHECK(model.fit(rows) == ISTHMUS_EPOCHS_DONE);
}

void rows_through_a_model() {
    const std::vector<float> x = numbers();
    const std::vector<double> in_double(x.begin(), x.end());
    const isthmus::Rows rows(x.data(), kRows, kFeatures);
    isthmus::Autoencoder model(kFeatures, {{"encoder_layers", {4, 2}}, {"random_state", 0}});
    const std::vector<float> code = model.encode(rows);
    CHECK(code.size() == kRows * 2);
    CHECK(model.encode({in_double.data(), kRows, kFeatures}) == code);
    CHECK(model.decode({code.data(), kRows, 2}) == model.reconstruct(rows));
    const std::vector<double> errors = model.errors(rows);
    const std::vector<double> scores = model.score_samples(rows);
    double sum = 0.0;
    for (std::size_t i = 0; i < errors.size(); ++i) {
        CHECK(scores[i] == -errors[i]);
        sum += errors[i];
    }
    CHECK(std::abs(model.score(rows) + sum / kRows) < 1e-12);
    CHECK(throws<isthmus::RuntimeError>([&] { (void)model.decision(rows); }));
    CHECK(throws<isthmus::ValueError>([&] { (void)model.encode({x.data(), 0, kFeatures}); }));
    CHECK(throws<isthmus::ValueError>([&] { (void)model.encode({x.data(), kRows, 5}); }));
    std::array<float, 2> small{};
    CHECK(throws<isthmus::ValueError>([&] { model.encode(rows, small); }));

    isthmus::Session session = model.session(2);
    std::vector<float> two(4);
    session.encode({x.data(), 2 * kFeatures}, two);
    CHECK(std::equal(two.begin(), two.end(), code.begin()));
    session.encode({x.data(), kFeatures}, small);
    CHECK(small[1] == code[1]);
    CHECK(throws<isthmus::ValueError>([&] { session.encode({x.data(), 3 * kFeatures}, two); }));
    CHECK(throws<isthmus::ValueError>([&] { session.encode({x.data(), 7}, two); }));
    const isthmus::Session moved = std::move(session);
    CHECK(moved.get() != nullptr && session.get() == nullptr);
}

void weights_and_names() {
    isthmus::Autoencoder model(kFeatures, {{"encoder_layers", {4, 2}}, {"random_state", 0}});
    const std::vector<isthmus_shape> shapes = model.weight_shapes();
    CHECK(shapes.size() == 8 && shapes[0].rows == 4 && shapes[0].cols == kFeatures && shapes[1].cols == 1);
    std::vector<float> weights = model.weights();
    CHECK(weights.size() == 2 * (4 * kFeatures + 4 * 2) + 4 + 2 + 4 + kFeatures);
    weights[3] = 0.5F;
    model.set_weights(weights);
    CHECK(model.weights() == weights);
    CHECK(throws<isthmus::ValueError>([&] { model.set_weights({weights.data(), 3}); }));

    CHECK(model.feature_names().empty());
    const std::vector<std::string> names{"a", "b", "c", "d", "\xC3\xA9", ""};
    model.set_feature_names(names);
    CHECK(isthmus::Autoencoder::from_bytes(model.to_bytes()).feature_names() == names);
    CHECK(throws<isthmus::ValueError>([&] { model.set_feature_names({"a"}); }));
    model.set_feature_names({});
    CHECK(model.feature_names().empty());
}

void missing_values_and_draws() {
    std::vector<float> x = numbers();
    x[8] = std::nanf("");
    const isthmus::Rows rows(x.data(), kRows, kFeatures);
    isthmus::Autoencoder model(kFeatures, {{"encoder_layers", {4, 2}}, {"missing", "mask"}, {"epochs", 2}});
    model.fit(rows);
    const std::vector<float> filled = model.impute(rows);
    CHECK(filled[8] == model.reconstruct(rows)[8] && filled[9] == x[9]);
    CHECK(throws<isthmus::RuntimeError>([&] { (void)model.sample(1, 0); }));

    const isthmus::Autoencoder generator(kFeatures, {{"kind", "variational_autoencoder"}, {"encoder_layers", {4, 2}}});
    const isthmus::Rows whole(filled.data(), kRows, kFeatures);
    const std::vector<float> drawn = generator.draw_codes(whole, 1);
    CHECK(drawn != generator.encode(whole) && drawn == generator.draw_codes(whole, 1));
    CHECK(generator.draw_codes({filled.data() + kFeatures, 1, kFeatures}, 1, 1)[0] == drawn[2]);
    CHECK(generator.sample(3, 1).size() == 3 * kFeatures);
    CHECK(throws<isthmus::ValueError>([&] { (void)generator.impute(rows); }));
}

void files() {
    isthmus::Autoencoder model(kFeatures, {{"encoder_layers", {4, 2}}, {"random_state", 0}});
    const std::string bytes = model.to_bytes();
    CHECK(isthmus::Autoencoder::from_bytes(bytes).to_bytes() == bytes);
    CHECK(throws<isthmus::ModelFormatError>([&] { isthmus::Autoencoder::from_bytes(bytes.substr(1)); }));
    CHECK(throws<isthmus::ValueError>([&] { isthmus::Autoencoder::from_bytes(bytes.substr(1)); }));  // it is one
    try {
        isthmus::Autoencoder::load("/no/such/file");
        CHECK(false);
    } catch (const isthmus::IoError& error) {
        CHECK(error.code() == ENOENT && error.status() == ISTHMUS_IO);
    }
    isthmus::Autoencoder moved = std::move(model);
    CHECK(moved.n_features() == kFeatures && moved.code_size() == 2);
    CHECK(throws<isthmus::ValueError>([&] { (void)model.info(); }));  // NOLINT: moved from
}

}  // namespace

int main() {
    parameters();
    training();
    rows_through_a_model();
    weights_and_names();
    missing_values_and_draws();
    files();
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
