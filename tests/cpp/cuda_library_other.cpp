// SPDX-License-Identifier: Apache-2.0
// A shared object that is not isthmus's.
extern "C" __attribute__((visibility("default"))) int somebody_else() { return 0; }
