// SPDX-License-Identifier: Apache-2.0
// A core model that several threads may hold: many readers or one writer. What Python's module and the C interface have
// in common.
#pragma once

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/autoencoder.hpp"
#include "cpu/cpu.hpp"
#include "device/cuda_library.hpp"
#include "isthmus/types.hpp"
#include "serving/devices.hpp"

namespace isthmus {

class SharedModel {
public:
    // `arguments` are those of a constructor of Autoencoder, without device and options.
    template <class... Arguments>
    SharedModel(const Placement& placement, const CompileOptions& options, Arguments&&... arguments)
        : core_(std::forward<Arguments>(arguments)..., placement.device, options),
          placement_(placement),
          on_cpu_(&placement.device == &cpu::device()),
          device_name_(placement.device.name()) {}

    int n_threads() const { return placement_.n_threads; }
    const std::string& device_name() const { return device_name_; }

    // Is this where the model would be put, were it asked for now? `device` as it was asked for, or as it is called.
    template <class Equals>
    bool serves(const Equals& equals) const {
        return equals(placement_.asked) || equals(device_name_);
    }

    // For what never changes: the network's widths. Needs no lock.
    const Autoencoder& constants() const { return core_; }

    // While the model is trained, a reader waits for the end of the epoch.
    template <class Body>
    auto read(Body&& body) const {
        check_use();
        const std::shared_lock lock(mutex_);
        return body(core_);
    }

    template <class Body>
    auto write(Body&& body) {
        check_use();
        const Exclusive exclusive(*this);
        return body(core_);
    }

    // For a callback inside write: lets others in until it returns. They may read; that a model which is being trained
    // is changed by none of them is the core's own check.
    template <class Body>
    auto pause(Body&& body) {
        const Pause paused(*this);
        return body();
    }

private:
    class Exclusive {
    public:
        explicit Exclusive(SharedModel& model) : model_(model) { model_.enter(); }
        ~Exclusive() { model_.leave(); }
        Exclusive(const Exclusive&) = delete;
        Exclusive& operator=(const Exclusive&) = delete;

    private:
        SharedModel& model_;
    };

    class Pause {
    public:
        explicit Pause(SharedModel& model) : model_(model) { model_.leave(); }
        ~Pause() { model_.enter(); }
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;

    private:
        SharedModel& model_;
    };

    void enter() {
        mutex_.lock();
        writer_ = std::this_thread::get_id();
    }
    void leave() {
        writer_ = std::thread::id();
        mutex_.unlock();
    }

    void check_use() const {
        if (!on_cpu_) refuse_cuda_after_fork();
        refuse_inside_a_step();
    }

    // A signal handler, or who is asked whether to stop, runs on the training thread between two steps; waiting for
    // itself it would never end.
    void refuse_inside_a_step() const {
        if (writer_ == std::this_thread::get_id()) {
            throw Error(ErrorKind::runtime, "the model is inside an epoch; it can be used in a callback or afterwards");
        }
    }

    Autoencoder core_;
    Placement placement_;
    bool on_cpu_;
    std::string device_name_;
    mutable std::shared_mutex mutex_;
    std::atomic<std::thread::id> writer_{};
};

}  // namespace isthmus
