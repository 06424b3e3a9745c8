// SPDX-License-Identifier: Apache-2.0
// isthmus._core: the only place that knows Python. It registers by topic, converts arguments, releases the GIL around
// every call into the core, and computes nothing.
#include "bindings/topics.hpp"

PYBIND11_MODULE(_core, m) {
    m.doc() = "Bindings of the C++ core. Internal: the package's own modules are the interface.";
    m.attr("__version__") = ISTHMUS_VERSION;

    using namespace isthmus::bindings;
    register_errors();
    register_environment(m);
    register_device_arrays(m);
    register_model(m);
    register_kernels(m);
}
