// SPDX-License-Identifier: Apache-2.0
// A folder of checkpoints of one fit: model files with their training state,
// "epoch-000012-step-000000003456.safetensors" for 12 whole epochs and 3456 optimizer steps, so that names sort in
// time. Each is whole or absent, the newest kCheckpointsKept stay, and only files of such a name are ever removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/model_file.hpp"
#include "core/trainer.hpp"

namespace isthmus {

// One to go on from, and two should the newest be damaged.
inline constexpr std::size_t kCheckpointsKept = 3;

// Paths of the checkpoints in a folder, oldest first. Throws Error(io) where it cannot be read.
std::vector<std::string> checkpoints_in(const std::string& folder);

struct FoundCheckpoint {
    struct Skipped {
        std::string path;
        std::string reason;
    };

    StoredModel model;
    std::vector<Skipped> skipped;  // newer ones that cannot be resumed from, newest first
};

// The newest one that a fit can be resumed from; where the path is a file, that one. Throws Error(io), ENOENT where
// there is none, and Error(model_format) that says of each why it will not do.
FoundCheckpoint newest_checkpoint(const std::string& path);

// Where and how often a fit leaves checkpoints.
struct Checkpointing {
    std::string folder;      // empty: nowhere
    std::int64_t every = 1;  // epochs
    // Is told that a checkpoint could not be written, unless it is the first one: a fit of hours goes on without. Null:
    // the error ends the fit.
    std::function<void(const std::string& why)> on_failure;
};

// Writes the checkpoints of one fit. The folder is this object's alone while it lives.
class CheckpointWriter {
public:
    // Makes the folder where it is absent, and removes what a process that was killed had not finished. Throws
    // Error(io) where that fails or another fit writes there, and Error(value) when a fit that does not resume finds
    // checkpoints.
    CheckpointWriter(const Checkpointing& how, bool resumes);
    ~CheckpointWriter();
    CheckpointWriter(const CheckpointWriter&) = delete;
    CheckpointWriter& operator=(const CheckpointWriter&) = delete;

    // Writes what `store` gives, if it is due and not written yet. A fit that resumes begins where it was written.
    void at(Moment moment, const Progress& progress, const std::function<StoredModel()>& store);

private:
    struct Place {
        std::int64_t epoch, step;
        bool operator==(const Place&) const = default;
    };

    void write(const StoredModel& model, Place place);

    const Checkpointing& how_;
    int folder_;
    std::optional<Place> written_;
};

}  // namespace isthmus
