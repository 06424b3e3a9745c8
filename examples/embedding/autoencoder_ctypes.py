# SPDX-License-Identifier: Apache-2.0
"""The C interface from another language: ctypes stands for any that can call C. From Python itself, use ``isthmus``.

    python autoencoder_ctypes.py $(python -m isthmus --library)
"""

from __future__ import annotations

import array
import ctypes
import math
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_void_p

ROWS, FEATURES, CODE = 500, 16, 2


class Rows(ctypes.Structure):
    """``isthmus_rows``; what is left out is 0: contiguous float32."""

    _fields_ = (
        ("data", c_void_p), ("rows", c_int64), ("cols", c_int64), ("row_bytes", c_int64), ("col_bytes", c_int64),
        ("type", c_int32), ("reserved", c_int32),
    )


def main(library: str) -> int:
    isthmus = ctypes.CDLL(library)
    isthmus.isthmus_last_error.restype = c_char_p
    isthmus.isthmus_destroy.argtypes = [c_void_p]
    isthmus.isthmus_create.argtypes = [c_int64, c_char_p, c_void_p, POINTER(c_void_p)]
    isthmus.isthmus_fit.argtypes = [c_void_p, POINTER(Rows), c_void_p, POINTER(c_int32)]
    isthmus.isthmus_encode.argtypes = [c_void_p, POINTER(Rows), POINTER(c_float), c_size_t]
    isthmus.isthmus_score.argtypes = [c_void_p, POINTER(Rows), POINTER(c_float), c_size_t, POINTER(c_double)]

    def check(status: int) -> None:
        if status != 0:
            raise RuntimeError(isthmus.isthmus_last_error().decode())

    values = array.array("f", (math.sin(0.01 * r * (1 + c % 4) + c) for r in range(ROWS) for c in range(FEATURES)))
    rows = Rows(data=values.buffer_info()[0], rows=ROWS, cols=FEATURES)
    parameters = b'{"encoder_layers": [32, 2], "activation": "tanh", "epochs": 40, "batch_size": 50,' \
                 b' "learning_rate": 0.005, "random_state": 0}'
    model = c_void_p()
    check(isthmus.isthmus_create(FEATURES, parameters, None, byref(model)))
    check(isthmus.isthmus_fit(model, byref(rows), None, None))
    codes = (c_float * (ROWS * CODE))()
    check(isthmus.isthmus_encode(model, byref(rows), codes, len(codes)))
    score = c_double()
    check(isthmus.isthmus_score(model, byref(rows), None, 0, byref(score)))
    isthmus.isthmus_destroy(model)
    print(f"the first row's code is ({codes[0]:.4f}, {codes[1]:.4f}); the mean error is {-score.value:.5f}")
    return 0 if -score.value < 0.05 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
