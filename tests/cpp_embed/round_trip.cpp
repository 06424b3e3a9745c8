// SPDX-License-Identifier: Apache-2.0
// What check.py compares with Python, bit by bit.
//
//     round_trip train MODEL CODES    trains, writes the model file and the codes of its rows
//     round_trip read MODEL ROWS      loads a model file and writes its reconstruction of those rows
#include <cstdio>
#include <fstream>
#include <isthmus/autoencoder.hpp>
#include <string>
#include <vector>

namespace {

constexpr int kRows = 200;
constexpr int kFeatures = 12;

std::vector<float> rows() {
    std::vector<float> x;
    for (int r = 0; r < kRows; ++r) {
        for (int c = 0; c < kFeatures; ++c) x.push_back(static_cast<float>((r * 7 + c * c * 13) % 64) / 64.0F);
    }
    return x;
}

void write(const std::string& path, const std::vector<float>& values) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(float)));
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc != 4) return 2;
    const std::string command = argv[1];
    const std::vector<float> x = rows();
    const isthmus::Rows table(x.data(), kRows, kFeatures);
    const isthmus::Placement cpu{"cpu", 0};
    if (command == "train") {
        isthmus::Autoencoder model(kFeatures,
                                   {{"encoder_layers", {9, 4}},
                                    {"scaling", "standard"},
                                    {"epochs", 5},
                                    {"batch_size", 32},
                                    {"random_state", 7}},
                                   cpu);
        model.fit(table);
        model.save(argv[2]);
        write(argv[3], model.encode(table));
    } else {
        write(argv[3], isthmus::Autoencoder::load(argv[2], cpu).reconstruct(table));
    }
    return 0;
} catch (const isthmus::Error& error) {
    std::fprintf(stderr, "isthmus: %s\n", error.what());
    return 1;
}
