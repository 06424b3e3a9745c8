// SPDX-License-Identifier: Apache-2.0
// Any bytes as a model file: refused as ModelFormatError, or a model that can be used, trained, saved and loaded again.
// Under libFuzzer the digest is not compared, or no mutation would get past it; elsewhere it is set right first. Half
// of the mutations are of the header's text alone, with its length and padding set right behind them.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/autoencoder.hpp"
#include "core/model_file.hpp"
#include "cpu/cpu.hpp"
#include "must.hpp"
#include "sealing.hpp"

using namespace isthmus;

namespace {

constexpr std::int64_t kRows = 3;

// Inference takes any weights there may be; its numbers are tested elsewhere.
void use(const Autoencoder& model, const std::vector<float>& x) {
    const std::int64_t d = model.n_features();
    const MatrixView rows{x.data(), kRows, d, d};
    std::vector<float> code(static_cast<std::size_t>(kRows * model.code_size()));
    std::vector<float> out(x.size());
    std::vector<double> errors(kRows);
    model.encode(rows, {code.data(), kRows, model.code_size(), model.code_size()});
    model.reconstruct(rows, {out.data(), kRows, d, d});
    model.reconstruction_error(rows, errors, std::nullopt);
    if (!model.calibration().empty()) model.anomaly_scores(rows, errors, std::nullopt);
}

std::string used_and_saved(const std::string& file) {
    StoredModel stored = from_bytes(file, "here");
    fuzz::must(sealing::sealed(to_bytes(stored)) == sealing::sealed(file), "a file that to_bytes would not write");
    CompileOptions options;
    options.n_threads = 1;
    options.precision = stored.configuration.precision;
    try {
        Autoencoder model(std::move(stored), cpu::device(), options);
        const std::vector<float> x(static_cast<std::size_t>(kRows * model.n_features()), 0.5F);
        use(model, x);
        const MatrixView rows{x.data(), kRows, model.n_features(), model.n_features()};
        model.partial_fit(RowSource{rows, {}, nullptr}, {});
        use(model, x);
        return to_bytes(model.store(true));
    } catch (const Error& error) {
        // Weights near the largest float32 overflow; a precision may be none of this machine's.
        fuzz::must(error.kind() == ErrorKind::divergence || error.kind() == ErrorKind::value ||
                       error.kind() == ErrorKind::runtime,
                   error.what());
        return {};
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string file(reinterpret_cast<const char*>(data), size);
#ifndef ISTHMUS_FUZZ_SKIP_DIGEST
    file = sealing::sealed(std::move(file));
#endif
    try {
        from_bytes(file, "here");
    } catch (const Error& error) {
        fuzz::must(error.kind() == ErrorKind::model_format, error.what());
        fuzz::must(std::string_view(error.what()).starts_with("here: "), error.what());
        return 0;
    }
    const std::string saved = used_and_saved(file);
    if (!saved.empty()) fuzz::must(to_bytes(from_bytes(saved, "here")) == saved, "another file the second time");
    return 0;
}

#ifdef ISTHMUS_FUZZ_SKIP_DIGEST
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    const std::string file(reinterpret_cast<const char*>(data), size);
    if (size < 8 || seed % 2 == 0 || sealing::header_length(file) > size - 8) {
        return LLVMFuzzerMutate(data, size, max_size);
    }
    std::string header = sealing::header_of(file);
    const std::size_t length = header.size();
    header.resize(2 * length + 64);
    header.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(header.data()), length, header.size()));
    const std::string mutated = sealing::with_header(file, std::move(header));
    const std::size_t n = std::min(mutated.size(), max_size);
    std::copy_n(mutated.data(), n, reinterpret_cast<char*>(data));
    return n;
}
#endif
