// SPDX-License-Identifier: Apache-2.0
// Trains an anomaly detector in C++, and serves it from several threads, each with a session of its own.
//
//     c++ -std=c++17 anomalies.cpp $(python -m isthmus --includes) $(python -m isthmus --library) -pthread -o anomalies
#include <cmath>
#include <cstdio>
#include <isthmus/autoencoder.hpp>
#include <random>
#include <thread>
#include <vector>

int main(int argc, char** argv) try {
    constexpr int kRows = 1000;
    constexpr int kFeatures = 8;
    constexpr int kAnomalies = 10;
    std::mt19937 random(0);
    std::normal_distribution<float> normal;
    std::vector<float> x;
    for (int r = 0; r < kRows; ++r) {
        const float a = normal(random);
        const float b = normal(random);
        for (int c = 0; c < kFeatures; ++c) {
            const float usual = (c % 2 == 0 ? a : b) * static_cast<float>(1 + c) + 0.1F * normal(random);
            x.push_back(r < kAnomalies ? 6.0F * normal(random) : usual);
        }
    }

    isthmus::Autoencoder detector(kFeatures, {{"kind", "anomaly_detector"},
                                              {"encoder_layers", {16, 2}},
                                              {"contamination", 0.01},
                                              {"epochs", 60},
                                              {"random_state", 0}});
    isthmus::FitOptions options;
    options.on_epoch_end = [](const isthmus::Epoch& epoch) {
        if (epoch.epoch % 20 == 0) std::printf("epoch %d: loss %.4f\n", static_cast<int>(epoch.epoch), epoch.loss);
        return false;  // go on
    };
    detector.fit({x.data(), kRows, kFeatures}, options);
    const std::string path = argc > 1 ? argv[1] : "anomalies_cpp.safetensors";
    detector.save(path);

    const isthmus::Autoencoder served = isthmus::Autoencoder::load(path);
    const double offset = served.info().offset;
    constexpr int kThreads = 4;
    std::vector<int> found(kRows);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            isthmus::Session session = served.session(1);
            for (int r = t; r < kRows; r += kThreads) {
                double score = 0.0;
                session.score_samples({x.data() + r * kFeatures, kFeatures}, {&score, 1});
                found[static_cast<std::size_t>(r)] = score < offset ? 1 : 0;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    int right = 0;
    int wrong = 0;
    for (int r = 0; r < kRows; ++r) (r < kAnomalies ? right : wrong) += found[static_cast<std::size_t>(r)];
    std::printf("%d of %d anomalies found, %d false alarms\n", right, kAnomalies, wrong);
    return right >= 8 && wrong <= 5 ? 0 : 1;
} catch (const isthmus::Error& error) {
    std::fprintf(stderr, "isthmus: %s\n", error.what());
    return 1;
}
