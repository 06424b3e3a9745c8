// SPDX-License-Identifier: Apache-2.0
// How long one row takes, call by call: isthmus's sessions beside ONNX Runtime's, both through their C interfaces, rows
// and results where the caller has them. bench/latency.py makes the models and writes down what comes out.
//
//     isthmus_bench_latency MODEL.safetensors ROUNDS CALLS [libonnxruntime.so MODEL.onnx OUTPUT]
//
// They take turns, forwards and backwards; a turn is CALLS calls, each timed by itself. On standard output, a line a
// round and contestant: its name, then p50, p99 and the largest of the turn in ns. The clock's own two readings, some
// 40 ns, are in all of them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <isthmus/autoencoder.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "onnx_runtime_c.hpp"

namespace {

constexpr std::int64_t kRows = 512;  // asked for in turn: more than the first cache holds
constexpr float kTolerance = 1e-5F;

struct Contestant {
    std::string name;
    std::function<void(std::size_t row)> run;
};

void take_turn(const Contestant& contestant, int calls, std::vector<double>& times) {
    using Clock = std::chrono::steady_clock;
    times.clear();
    for (std::size_t row = 0; row < kRows; ++row) contestant.run(row);  // its caches and threads
    for (int i = 0; i < calls; ++i) {
        const auto row = static_cast<std::size_t>(i % kRows);
        const Clock::time_point started = Clock::now();
        contestant.run(row);
        times.push_back(std::chrono::duration<double, std::nano>(Clock::now() - started).count());
    }
    std::sort(times.begin(), times.end());
    const auto at = [&](double share) {
        return times[static_cast<std::size_t>(share * static_cast<double>(calls - 1))];
    };
    std::printf("%s %.0f %.0f %.0f\n", contestant.name.c_str(), at(0.5), at(0.99), times.back());
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 4 && argc != 7) return 2;
    const isthmus::Autoencoder model = isthmus::Autoencoder::load(argv[1], {"cpu", 0});
    const int rounds = std::atoi(argv[2]);
    const int calls = std::atoi(argv[3]);
    const auto width = static_cast<std::size_t>(model.n_features());
    std::vector<float> x(kRows * width);
    for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = 0.5F + 0.5F * static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
    }
    std::vector<float> y(width);
    const auto row_of = [&](std::size_t row) { return x.data() + row * width; };

    std::vector<Contestant> contestants;
    std::vector<isthmus::Session> sessions;
    for (const int threads : {1, 2}) sessions.push_back(model.session(1, threads));
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        contestants.push_back({"isthmus-" + std::to_string(i + 1),
                               [&, i](std::size_t row) { sessions[i].reconstruct({row_of(row), width}, y); }});
    }
    std::vector<std::unique_ptr<OnnxRuntime>> runtimes;
    std::vector<std::vector<void*>> tensors;
    if (argc == 7) {
        for (const int threads : {1, 2}) {
            OnnxRuntime& runtime =
                *runtimes.emplace_back(std::make_unique<OnnxRuntime>(argv[4], argv[5], argv[6], threads));
            std::vector<void*>& values = tensors.emplace_back();
            for (std::size_t row = 0; row < kRows; ++row) {
                values.push_back(runtime.tensor(row_of(row), model.n_features()));
            }
            values.push_back(runtime.tensor(y.data(), model.n_features()));
        }
        for (std::size_t i = 0; i < runtimes.size(); ++i) {
            contestants.push_back({"onnxruntime-" + std::to_string(i + 1),
                                   [&, i](std::size_t row) { runtimes[i]->run(tensors[i][row], tensors[i].back()); }});
        }
    }

    for (const Contestant& contestant : contestants) {  // nothing is timed before all compute the same
        for (std::size_t row = 0; row < 16; ++row) {
            const std::vector<float> expected = model.reconstruct({row_of(row), 1, model.n_features()});
            std::fill(y.begin(), y.end(), -1.0F);
            contestant.run(row);
            for (std::size_t c = 0; c < width; ++c) {
                if (std::abs(y[c] - expected[c]) <= kTolerance) continue;
                std::fprintf(stderr, "%s gives another reconstruction; nothing was timed\n", contestant.name.c_str());
                return 1;
            }
        }
    }
    std::vector<double> times;
    times.reserve(static_cast<std::size_t>(calls));
    for (int round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < contestants.size(); ++i) {
            take_turn(contestants[round % 2 == 0 ? i : contestants.size() - 1 - i], calls, times);
        }
    }
    return 0;
} catch (const isthmus::Error& error) {
    std::fprintf(stderr, "isthmus: %s\n", error.what());
    return 1;
}
