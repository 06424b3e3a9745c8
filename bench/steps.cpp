// SPDX-License-Identifier: Apache-2.0
// Trains one case for a number of epochs on one thread, through the core as `fit` does, and prints the compiler; for
// bench/instructions.py, which counts what it executes. The case comes on the command line: bench/cases.py has it.
//
//     isthmus_bench_steps WIDTH,WIDTH,... CODE ACTIVATION OUTPUT_ACTIVATION LOSS BATCH ROWS EPOCHS
#include <cstdint>
#include <cstdio>
#include <exception>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/autoencoder.hpp"
#include "cpu/cpu.hpp"
#include "math/names.hpp"

namespace {

using namespace isthmus;

std::vector<std::int64_t> integers(const std::string& text) {
    std::vector<std::int64_t> values;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) values.push_back(std::stoll(word));
    return values;
}

template <class E>
E named(const std::string& text) {
    if (const auto value = math::parse<E>(text)) return *value;
    throw std::invalid_argument("unknown name " + text);
}

// Uniform in [0, 1): a linear congruential generator is random enough for data whose values nothing depends on.
std::vector<float> uniform(std::int64_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    std::uint64_t state = 1;
    for (float& value : values) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        value = static_cast<float>(state >> 40) * 0x1p-24F;
    }
    return values;
}

void train(const std::vector<std::string>& arguments) {
    const std::vector<std::int64_t> widths = integers(arguments.at(0));
    const std::int64_t code = std::stoll(arguments.at(1));
    Configuration configuration;
    configuration.encoder_layers.emplace(widths.begin() + 1, widths.begin() + code + 1);
    configuration.decoder_layers.emplace(widths.begin() + code + 1, widths.end() - 1);
    configuration.activation = configuration.code_activation = named<Activation>(arguments.at(2));
    configuration.output_activation = named<Activation>(arguments.at(3));
    configuration.loss = named<Loss>(arguments.at(4));
    configuration.batch_size = std::stoll(arguments.at(5));
    configuration.epochs = std::stoll(arguments.at(7));

    const std::int64_t rows = std::stoll(arguments.at(6));
    const std::vector<float> data = uniform(rows * widths[0]);
    CompileOptions options;
    options.n_threads = 1;
    Autoencoder model(configuration, widths[0], 0, cpu::device(), options);
    model.fit(RowSource{{data.data(), rows, widths[0], widths[0]}, {}, nullptr}, nullptr, {});
}

}  // namespace

int main(int argc, char** argv) {
    try {
        train(std::vector<std::string>(argv + 1, argv + argc));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "isthmus_bench_steps: %s\n", error.what());
        return 1;
    }
#ifdef __clang__
    std::printf("clang %s\n", __clang_version__);
#else
    std::printf("gcc %s\n", __VERSION__);
#endif
}
