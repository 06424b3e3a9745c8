# SPDX-License-Identifier: Apache-2.0
"""Another library's arrays on the emulated GPU: a producer and a consumer of DLPack capsules and of the CUDA Array
Interface, made of ctypes and of the functions that the emulated library alone exports
(tests/cuda_emulator/producer.cpp).
"""

from __future__ import annotations

import ctypes as c
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

CUDA = 2
CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}


class Device(c.Structure):
    _fields_ = [("type", c.c_int32), ("id", c.c_int32)]


class DataType(c.Structure):
    _fields_ = [("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16)]


class Tensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("device", Device), ("ndim", c.c_int32), ("dtype", DataType),
                ("shape", c.POINTER(c.c_int64)), ("strides", c.POINTER(c.c_int64)), ("byte_offset", c.c_uint64)]


DELETER = c.CFUNCTYPE(None, c.c_void_p)


class Unversioned(c.Structure):
    _fields_ = [("tensor", Tensor), ("manager", c.c_void_p), ("deleter", DELETER)]


class Versioned(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("manager", c.c_void_p), ("deleter", DELETER),
                ("flags", c.c_uint64), ("tensor", Tensor)]


# A capsule keeps no copy of its name.
NAME = {Versioned: b"dltensor_versioned", Unversioned: b"dltensor"}
USED = {Versioned: b"used_dltensor_versioned", Unversioned: b"used_dltensor"}

python = c.pythonapi
python.PyCapsule_New.restype = c.py_object
python.PyCapsule_New.argtypes = [c.c_void_p, c.c_char_p, c.c_void_p]
python.PyCapsule_GetPointer.restype = c.c_void_p
python.PyCapsule_GetPointer.argtypes = [c.py_object, c.c_char_p]
python.PyCapsule_SetName.argtypes = [c.py_object, c.c_char_p]
python.PyCapsule_GetName.restype = c.c_char_p
python.PyCapsule_GetName.argtypes = [c.py_object]


def library() -> c.CDLL | None:
    """The emulated library, the very one that isthmus has opened; None where the device is another."""
    path = os.environ.get("ISTHMUS_CUDA_LIBRARY", "")
    found = c.CDLL(path) if path else None
    if found is None or not hasattr(found, "producer_allocate"):
        return None
    found.producer_free_bytes.restype = c.c_size_t
    for name in ("free", "copy", "synchronize", "hold_back", "stream"):
        getattr(found, f"producer_{name}").argtypes = {
            "copy": [c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p], "hold_back": [c.c_void_p, c.c_void_p],
        }.get(name, [c.c_void_p])
    found.producer_allocate.argtypes = [c.c_int, c.c_size_t, c.c_void_p]
    return found


GPU = library()


def done(result: int) -> None:
    assert result == 0, f"the emulated runtime answers {result}"


class Array:
    """An array on the GPU that keeps the base of a NumPy view, with the view's offset and strides.

    Its stream is one of its own: what `write` queues there happens late when the streams do, and whoever does not wait
    for it reads NaN, which is what new memory is full of.
    """

    versioned = True

    def __init__(self, values: NDArray[Any], device: int = 0) -> None:
        assert GPU is not None
        self.values = values
        base = values if values.base is None else values.base
        self._base: NDArray[Any] = np.asarray(base)
        memory, stream = c.c_void_p(), c.c_void_p()
        done(GPU.producer_allocate(device, max(1, self._base.nbytes), c.byref(memory)))
        done(GPU.producer_stream(c.byref(stream)))
        self.memory, self.stream, self.device = memory.value, stream.value, device
        self.offset = values.ctypes.data - self._base.ctypes.data
        self.handed_out: list[tuple[Any, ...]] = []
        self.deleted = 0
        self.asked: list[dict[str, Any]] = []
        self.write()

    def write(self) -> None:
        assert GPU is not None
        done(GPU.producer_copy(self.memory, self._base.ctypes.data, self._base.nbytes, self.stream))

    def __del__(self) -> None:
        if GPU is not None and self.deleted == len(self.handed_out):
            GPU.producer_free(self.memory)

    def _tensor(self) -> tuple[Tensor, Any, Any]:
        values = self.values
        shape = (c.c_int64 * max(1, values.ndim))(*values.shape)
        strides = (c.c_int64 * max(1, values.ndim))(*(s // values.itemsize for s in values.strides))
        dtype = DataType(CODES[values.dtype.kind], 8 * values.itemsize, 1)
        plain = values.flags.c_contiguous
        return Tensor(self.memory, Device(CUDA, self.device), values.ndim, dtype, shape,
                      None if plain else strides, self.offset), shape, strides


class DlpackArray(Array):
    """Speaks DLPack alone."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(self, **asked: Any) -> Any:
        assert GPU is not None
        if not self.versioned and "max_version" in asked:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.asked.append(asked)
        done(GPU.producer_hold_back(asked["stream"], self.stream))
        tensor, *kept = self._tensor()

        def delete(_: int) -> None:
            self.deleted += 1

        deleter = DELETER(delete)
        managed = Versioned(1, 1, None, deleter, 1, tensor) if self.versioned else Unversioned(tensor, None, deleter)
        self.handed_out.append((managed, deleter, *kept))
        return python.PyCapsule_New(c.addressof(managed), NAME[type(managed)], None)


class OldDlpackArray(DlpackArray):
    """From before DLPack 1."""

    versioned = False


class InterfaceArray(Array):
    """Speaks the CUDA Array Interface alone."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        values = self.values
        return {"shape": values.shape, "typestr": values.dtype.str, "data": (self.memory + self.offset, True),
                "strides": None if values.flags.c_contiguous else values.strides, "stream": self.stream, "version": 3}


def values_of(result: Any, versioned: bool = True) -> NDArray[Any]:
    """What a result on the GPU holds, as a consumer reads it; its deleter is called."""
    assert GPU is not None
    assert result.__dlpack_device__() == (CUDA, 0)
    capsule = result.__dlpack__(stream=None, max_version=(1, 0)) if versioned else result.__dlpack__()
    kind = Versioned if versioned else Unversioned
    assert python.PyCapsule_GetName(capsule) == NAME[kind]
    managed = kind.from_address(python.PyCapsule_GetPointer(capsule, NAME[kind]))
    python.PyCapsule_SetName(capsule, USED[kind])
    tensor = managed.tensor
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    kind = next(kind for kind, code in CODES.items() if code == tensor.dtype.code)
    values = np.empty(shape, f"{kind}{tensor.dtype.bits // 8}")
    assert tuple(tensor.strides[i] for i in range(tensor.ndim)) == tuple(s // values.itemsize for s in values.strides)
    stream = c.c_void_p()
    done(GPU.producer_stream(c.byref(stream)))
    done(GPU.producer_copy(values.ctypes.data, tensor.data + tensor.byte_offset, values.nbytes, stream))
    done(GPU.producer_synchronize(stream))
    managed.deleter(c.addressof(managed))
    return values
