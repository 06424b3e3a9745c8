# SPDX-License-Identifier: Apache-2.0
# Written by csrc/bindings/stubs.py from the bindings; do not edit.
"""
Bindings of the C++ core. Internal: the package's own modules are the interface.
"""
from __future__ import annotations
import collections.abc
import numpy
import numpy.typing
import typing
import typing_extensions
__all__: list[str] = ['CsrArray', 'DeviceArray', 'Model', 'RowStream', 'activation_backward', 'activation_forward', 'activations', 'adam_step', 'bfloat16_families', 'bfloat16_family', 'check_parameters', 'compiler', 'cuda', 'default_threads', 'dense_backward_input', 'dense_backward_weight', 'dense_forward', 'device_array', 'device_name', 'find_non_finite', 'format_version', 'instruction_set', 'instruction_sets', 'loss', 'losses', 'noise_kinds', 'numerics_version', 'optimizers', 'place', 'reads', 'schedules', 'use_bfloat16_family', 'use_instruction_set']
class CsrArray:
    """
    Sparse rows in CSR, checked, where they are.
    """
    def __init__(self, indptr: numpy.ndarray, indices: numpy.ndarray, data: numpy.ndarray, rows: typing.SupportsInt | typing.SupportsIndex, cols: typing.SupportsInt | typing.SupportsIndex, name: str) -> None:
        """
        ValueError that names what is wrong with the three arrays, and where.
        """
    def __len__(self) -> int:
        ...
    def slice(self, first: typing.SupportsInt | typing.SupportsIndex, count: typing.SupportsInt | typing.SupportsIndex) -> CsrArray:
        ...
    def to_dense(self, numbers: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex]) -> numpy.typing.NDArray[numpy.float64]:
        """
        The rows of these numbers with their zeros, float64.
        """
    @property
    def ndim(self) -> int:
        ...
    @property
    def shape(self) -> tuple[int, int]:
        ...
class DeviceArray:
    """
    An array in the memory of a GPU, for DLPack and __cuda_array_interface__.
    """
    def __dlpack__(self, *, stream: typing.Any = None, max_version: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex] | None = None, dl_device: tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex] | None = None, copy: bool | None = None) -> typing_extensions.CapsuleType:
        ...
    def __dlpack_device__(self) -> tuple[int, int]:
        ...
    def __len__(self) -> int:
        ...
    def __neg__(self) -> DeviceArray:
        ...
    def check_device(self, model_device: str, name: str) -> None:
        """
        ValueError that names both, unless that is where the array is.
        """
    def empty(self, shape: collections.abc.Sequence[typing.SupportsInt | typing.SupportsIndex], wide: bool) -> DeviceArray:
        """
        A new array on the same device, of float32 or float64.
        """
    def item(self, row: int, column: int) -> float:
        ...
    def readable(self) -> tuple[DeviceArray, tuple[int, int] | None]:
        """
        As float32 that the core reads, the array itself where it can be, and where a copy is not finite.
        """
    def to_host(self) -> numpy.ndarray:
        """
        A NumPy array: float32 of what that holds exactly, else float64.
        """
    def widened(self) -> DeviceArray:
        ...
    @property
    def __cuda_array_interface__(self) -> dict[str, typing.Any]:
        ...
    @property
    def device(self) -> str:
        ...
    @property
    def dtype(self) -> str:
        ...
    @property
    def ndim(self) -> int:
        ...
    @property
    def shape(self) -> tuple[int, ...]:
        ...
class RowStream:
    """
    Rows that rewind() and next_piece() of an object give, (rows, weights) at a time, None at the end.
    """
    def __init__(self, source: typing.Any, n_columns: int) -> None:
        ...
class Model:
    """
    A network with its weights and training state, on a device.
    """
    @staticmethod
    def from_bytes(data: bytes, device: str, n_threads: int) -> Model:
        ...
    @staticmethod
    def load(path: bytes, device: str, n_threads: int) -> Model:
        ...
    @staticmethod
    def load_checkpoint(path: bytes, device: str, n_threads: int) -> tuple[Model, list[tuple[bytes, bytes]]]:
        """
        The newest checkpoint of a folder, or a file, to resume from; path and reason of each skipped.
        """
    def __init__(self, parameters: dict[str, typing.Any], n_features: int, seed: int, device: str, n_threads: int, max_memory: int, on: str = '') -> None:
        ...
    def anomaly_scores(self, rows: numpy.ndarray | DeviceArray | CsrArray, scores: numpy.typing.NDArray[numpy.float64], per_feature: numpy.typing.NDArray[numpy.float32] | None) -> None:
        ...
    def configure(self, parameters: dict[str, typing.Any]) -> None:
        """
        New training parameters; ValueError when the network would change.
        """
    def decode(self, rows: numpy.ndarray | DeviceArray | CsrArray, out: numpy.typing.NDArray[numpy.float32] | DeviceArray) -> None:
        ...
    def decode_quickly(self, rows: typing.Any, device: typing.Any, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
        ...
    def draw_codes(self, rows: numpy.ndarray | DeviceArray | CsrArray, seed: int, first_row: int, out: numpy.typing.NDArray[numpy.float32]) -> None:
        """
        Codes drawn from what the encoder says of each row; row r depends on the seed and first_row + r.
        """
    def draw_prior(self, seed: int, out: numpy.typing.NDArray[numpy.float32]) -> None:
        """
        Codes drawn from N(0, 1).
        """
    def encode(self, rows: numpy.ndarray | DeviceArray | CsrArray, out: numpy.typing.NDArray[numpy.float32] | DeviceArray) -> None:
        ...
    def encode_quickly(self, rows: typing.Any, device: typing.Any, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
        """
        The codes of a C-contiguous float32 array; None for what needs more than that, or other threads.
        """
    def evaluate(self, inputs: numpy.ndarray | DeviceArray | CsrArray, weights: numpy.typing.NDArray[numpy.float32] | None) -> float:
        ...
    def fit(self, inputs: numpy.ndarray | DeviceArray | CsrArray | RowStream, weights: numpy.typing.NDArray[numpy.float32] | None, validation: numpy.ndarray | DeviceArray | CsrArray | RowStream | None, validation_targets: numpy.ndarray | DeviceArray | CsrArray | None, on_epoch_end: collections.abc.Callable[[dict[str, typing.Any]], bool] | None, checkpoint: bytes | None, checkpoint_every: int, on_checkpoint_failure: collections.abc.Callable[[str], None], max_seconds: typing.SupportsFloat | typing.SupportsIndex | None, max_memory: int, resumed_with: dict[str, typing.Any] | None) -> None:
        """
        resumed_with: the parameters of the fit that was interrupted, to go on with it; None: a fit begins.
        """
    def get_weights(self) -> list[numpy.typing.NDArray[numpy.float32]]:
        ...
    def gradients(self, inputs: numpy.ndarray | DeviceArray | CsrArray, weights: numpy.typing.NDArray[numpy.float32] | None) -> list[numpy.typing.NDArray[numpy.float32]]:
        ...
    def moved(self, device: str, n_threads: int) -> Model:
        """
        A copy on another device or number of threads.
        """
    def p_values(self, rows: numpy.ndarray | DeviceArray | CsrArray, p: numpy.typing.NDArray[numpy.float64]) -> None:
        ...
    def partial_fit(self, inputs: numpy.ndarray | DeviceArray | CsrArray, weights: numpy.typing.NDArray[numpy.float32] | None, max_memory: int) -> None:
        ...
    def reconstruct(self, rows: numpy.ndarray | DeviceArray | CsrArray, out: numpy.typing.NDArray[numpy.float32] | DeviceArray) -> None:
        ...
    def reconstruct_quickly(self, rows: typing.Any, device: typing.Any, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
        ...
    def reconstruction_error(self, rows: numpy.ndarray | DeviceArray | CsrArray, errors: numpy.typing.NDArray[numpy.float64] | DeviceArray, per_feature: numpy.typing.NDArray[numpy.float32] | DeviceArray | None, in_input_units: bool, first_row: int) -> None:
        """
        first_row is the number of the first of these rows, for messages.
        """
    def save(self, path: bytes, training_state: bool) -> None:
        ...
    def serves(self, device: str, n_threads: int) -> bool:
        """
        Is this model where these two would put it?
        """
    def set_scaling(self, shift: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex], scale: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex]) -> None:
        """
        What each feature is shifted and divided by, instead of what the first training finds.
        """
    def set_weights(self, weights: list[numpy.typing.NDArray[numpy.float32]]) -> None:
        ...
    def to_bytes(self, training_state: bool) -> bytes:
        ...
    @property
    def code_size(self) -> int:
        ...
    @property
    def device(self) -> str:
        ...
    @property
    def epoch(self) -> int:
        ...
    @property
    def feature_names(self) -> list[str]:
        ...
    @feature_names.setter
    def feature_names(self, arg1: collections.abc.Sequence[str]) -> None:
        ...
    @property
    def history(self) -> dict[str, list[float]]:
        ...
    @property
    def interrupted(self) -> bool:
        ...
    @property
    def last_plan(self) -> str:
        """
        How the device ran the last steps, in words.
        """
    @property
    def loss(self) -> float | None:
        ...
    @property
    def masks_missing(self) -> bool:
        """
        Is NaN a missing value to this model?
        """
    @property
    def n_features(self) -> int:
        ...
    @property
    def n_threads(self) -> int:
        ...
    @property
    def offset(self) -> float | None:
        ...
    @property
    def parameters(self) -> dict[str, typing.Any]:
        ...
    @property
    def reads_device_rows(self) -> bool:
        """
        May rows be on the GPU that the model is on?
        """
    @property
    def shapes(self) -> list[list[int]]:
        ...
    @property
    def step(self) -> int:
        ...
def activation_backward(z: typing.Any, dy: typing.Any, activation: str, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
    ...
def activation_forward(z: typing.Any, activation: str, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
    ...
def activations() -> list[str]:
    """
    Names, in the order of the registry.
    """
def adam_step(param: typing.Any, gradient: typing.Any, m: typing.Any, v: typing.Any, step: typing.Any, parameters: dict[str, typing.Any], device: typing.Any, precision: str, n_threads: typing.Any) -> bool:
    ...
def bfloat16_families() -> list[str]:
    """
    Families of instructions that multiply bfloat16 with the instruction set in use, best last.
    """
def bfloat16_family() -> str:
    """
    The one in use, or "none".
    """
def check_parameters(parameters: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """
    The whole configuration with these parameters; ValueError or TypeError for what is not allowed.
    """
def cuda() -> dict[str, typing.Any]:
    """
    What was found of CUDA: library, driver, GPUs, and what device="auto" takes, and why.
    """
def default_threads() -> int:
    """
    Threads that n_threads=None stands for.
    """
def dense_backward_input(dz: typing.Any, weight: typing.Any, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
    ...
def dense_backward_weight(x: typing.Any, dz: typing.Any, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> tuple[numpy.typing.NDArray[numpy.float32], numpy.typing.NDArray[numpy.float32]] | None:
    ...
def dense_forward(x: typing.Any, weight: typing.Any, bias: typing.Any, activation: str, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> numpy.typing.NDArray[numpy.float32] | None:
    ...
def device_array(array: typing.Any, name: str) -> DeviceArray | None:
    """
    The caller's array, by DLPack or __cuda_array_interface__; None for one that is not on a GPU.
    """
def device_name(device: str) -> str:
    """
    What a device is called that was asked for as "auto" or "cuda"; opens it.
    """
def find_non_finite(rows: numpy.ndarray, nan_is_missing: bool) -> tuple[int, int] | None:
    """
    Row and column of the first infinity or, unless that is a missing value, NaN in row order, or None.
    """
def instruction_set() -> str:
    """
    The one in use.
    """
def instruction_sets() -> list[str]:
    """
    Those compiled in that this machine can run, best last.
    """
def loss(loss: str, y: typing.Any, target: typing.Any, out: typing.Any, device: typing.Any, precision: str, n_threads: typing.Any) -> tuple[float, numpy.typing.NDArray[numpy.float32]] | None:
    ...
def losses() -> list[str]:
    ...
def noise_kinds() -> list[str]:
    ...
def optimizers() -> list[str]:
    ...
def place(values: numpy.ndarray, device: str) -> DeviceArray:
    """
    A copy of a NumPy array on a GPU.
    """
def reads(array: numpy.ndarray) -> bool:
    """
    Does the core convert an array of this number type itself?
    """
def schedules() -> list[str]:
    ...
def use_bfloat16_family(name: str) -> None:
    """
    For tests; not while another thread computes.
    """
def use_instruction_set(name: str) -> None:
    """
    For tests; not while another thread computes.
    """
__version__: str
compiler: str
format_version: int
numerics_version: int
