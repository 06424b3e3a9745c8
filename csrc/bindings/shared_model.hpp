// SPDX-License-Identifier: Apache-2.0
// A core model that several Python threads may hold: many readers or one writer. Every call runs without the GIL, and
// the lock is only ever waited for without the GIL, so that of two threads each never holds what the other waits for.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <thread>
#include <utility>

#include "core/autoencoder.hpp"
#include "isthmus/types.hpp"

namespace isthmus::bindings {

class SharedModel {
public:
    // `arguments` are those of a constructor of Autoencoder.
    template <class... Arguments>
    explicit SharedModel(int n_threads, Arguments&&... arguments)
        : core_(std::forward<Arguments>(arguments)...), n_threads_(n_threads) {}

    int n_threads() const { return n_threads_; }

    // For what never changes: the network's widths. Needs no lock.
    const Autoencoder& constants() const { return core_; }

    // While the model is trained, a reader waits for the end of the epoch.
    template <class Body>
    auto read(Body&& body) const {
        const pybind11::gil_scoped_release nogil;
        refuse_inside_a_step();
        const std::shared_lock lock(mutex_);
        return body(core_);
    }

    template <class Body>
    auto write(Body&& body) {
        const pybind11::gil_scoped_release nogil;
        refuse_inside_a_step();
        const Exclusive exclusive(*this);
        return body(core_);
    }

    // For a callback inside write: takes the GIL, and lets others in until it returns. They may read; that a model
    // which is being trained is changed by none of them is the core's own check.
    template <class Body>
    auto pause(Body&& body) {
        const Pause paused(*this);
        const pybind11::gil_scoped_acquire gil;
        return body();
    }

    bool interrupted = false;  // the last training ended by an exception that Python raised; guarded by the GIL

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

    // A signal handler runs on the training thread between two steps; waiting for itself it would never end.
    void refuse_inside_a_step() const {
        if (writer_ == std::this_thread::get_id()) {
            throw Error(ErrorKind::runtime, "the model is inside an epoch; it can be used in a callback or afterwards");
        }
    }

    Autoencoder core_;
    int n_threads_;
    mutable std::shared_mutex mutex_;
    std::atomic<std::thread::id> writer_{};
};

}  // namespace isthmus::bindings
