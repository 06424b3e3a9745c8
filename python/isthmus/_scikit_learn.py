# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's conventions, spoken without importing it: feature names, output containers, tags."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus._device_arrays import in_kind, on_host
from isthmus._fitted import Fitted

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from isthmus import _core

_CONTAINERS = ("default", "pandas", "polars")


# ---- columns of X -----------------------------------------------------------------------------------------------


def check_width(owner: str, name: str, width: int, expected: int) -> None:
    """ValueError, in scikit-learn's words, unless the matrix has as many columns as the model has features."""
    if width != expected:
        raise ValueError(f"{name} has {width} features, but {owner} is expecting {expected} features as input")


def check_names(owner: str, given: list[str] | None, fitted: Sequence[str]) -> None:
    """Column names must be those of the training data; a warning when only one of the two has names."""
    if given is None and fitted:
        _warn(f"X does not have valid feature names, but {owner} was fitted with feature names")
    elif given is not None and not fitted:
        _warn(f"X has feature names, but {owner} was fitted without feature names")
    elif given is not None and given != list(fitted):
        unseen, missing = sorted(set(given) - set(fitted)), sorted(set(fitted) - set(given))
        message = "The feature names should match those that were passed during fit.\n"
        if unseen:
            message += f"Feature names unseen at fit time:\n{_listed(unseen)}"
        if missing:
            message += f"Feature names seen at fit time, yet now missing:\n{_listed(missing)}"
        if not unseen and not missing:
            message += "Feature names must be in the same order as they were in fit.\n"
        raise ValueError(message)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)


def _listed(names: list[str], most: int = 5) -> str:
    return "".join(f"- {name}\n" for name in names[:most]) + ("- ...\n" if len(names) > most else "")


# ---- output -----------------------------------------------------------------------------------------------------


class Transformer(Fitted):
    """What scikit-learn's pipelines and checks ask of a transformer beyond fit and transform."""

    missing: str
    _estimator_type = "transformer"
    _sklearn_auto_wrap_output_keys = frozenset({"transform"})

    def set_output(self, *, transform: str | None = None) -> Self:
        """Chooses what ``transform``, ``encode`` and ``fit_transform`` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"} or None
            ``"default"`` is an array of X's library, NumPy's for what has none; None changes nothing.
        """
        if transform is None:
            return self
        if transform not in _CONTAINERS:
            raise ValueError(f"transform must be one of {_CONTAINERS}; got {transform!r}")
        self._sklearn_output_config = {"transform": transform}
        return self

    def _contain(self, values: Any, X: object, names: NDArray[Any] | None = None) -> Any:
        """The values in the chosen container, with these column names, by default the code's; a pandas frame keeps the
        index of X."""
        container = getattr(self, "_sklearn_output_config", {}).get("transform")
        if container is None:
            sklearn = sys.modules.get("sklearn")
            container = "default" if sklearn is None else sklearn.get_config()["transform_output"]
        if container != "default" and names is None:
            names = self.get_feature_names_out()
        if container == "pandas":
            import pandas

            index = X.index if isinstance(X, pandas.DataFrame) else None
            return pandas.DataFrame(on_host(values), index=index, columns=names, copy=False)
        if container == "polars":
            import polars

            assert names is not None
            return polars.DataFrame(on_host(values), schema=names.tolist(), orient="row")
        return in_kind(values, X)

    @staticmethod
    def _column_names(core: _core.Model) -> NDArray[Any]:
        """Of the features: those of the training data, or x0, x1, ... as in scikit-learn."""
        return np.array(core.feature_names or [f"x{i}" for i in range(core.n_features)], dtype=object)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Names of the code's columns: the class name in lower case and a number.

        Parameters
        ----------
        input_features : array-like of str, optional
            Checked against the features of the training data, otherwise unused.
        """
        core = self._fitted()
        if input_features is not None:
            given = np.asarray(input_features, dtype=object)
            if core.feature_names and list(given) != core.feature_names:
                raise ValueError("input_features is not equal to feature_names_in_")
            if len(given) != core.n_features:
                raise ValueError(
                    f"input_features should have length equal to number of features ({core.n_features}), "
                    f"got {len(given)}"
                )
        name = type(self).__name__.lower()
        return np.array([f"{name}{i}" for i in range(core.code_size)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type="transformer",
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=["float32"]),
            input_tags=InputTags(sparse=True, allow_nan=self.missing == "mask"),
        )
