// SPDX-License-Identifier: Apache-2.0
// Any bytes as JSON, and as the configuration of a model: refused with a documented error, or a value whose text reads
// back to the same text.
#include "core/configuration.hpp"
#include "core/json.hpp"
#include "must.hpp"

using namespace isthmus;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    Json value;
    try {
        value = parse_json(text);
    } catch (const Error& error) {
        fuzz::must(error.kind() == ErrorKind::model_format, error.what());
        return 0;
    }
    const std::string dumped = value.dump();
    fuzz::must(parse_json(dumped).dump() == dumped, dumped);
    fuzz::must(utf8_length(summary(value)) > 0, dumped);
    try {
        const std::string configuration = to_json(parse_configuration(value)).dump();
        fuzz::must(to_json(parse_configuration(parse_json(configuration))).dump() == configuration, configuration);
    } catch (const Error& error) {
        fuzz::must(error.kind() != ErrorKind::runtime && error.kind() != ErrorKind::memory, error.what());
    }
    return 0;
}
