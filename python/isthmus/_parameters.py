# SPDX-License-Identifier: Apache-2.0
"""Constructor parameters: stored as given, read and set by name as in scikit-learn. The signature is the only list."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from typing import Self


class Parameters:
    """Base of estimators whose ``__init__`` does nothing but store its arguments under their names."""

    @classmethod
    def _parameter_defaults(cls) -> dict[str, Any]:
        init = cast(FunctionType, cls.__init__)
        code = init.__code__
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        positional = init.__defaults__ or ()
        defaults = dict(zip(names[: len(positional)], positional, strict=True))
        return {**defaults, **(init.__kwdefaults__ or {})}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All constructor parameters by name.

        Parameters
        ----------
        deep : bool
            For scikit-learn; no parameter is an estimator itself.
        """
        return {name: getattr(self, name) for name in self._parameter_defaults()}

    def set_params(self, **params: Any) -> Self:
        """Sets constructor parameters by name; they take effect at the next call that uses them.

        Raises
        ------
        ValueError
            For a name that does not exist; nothing is set then.
        """
        valid = self._parameter_defaults()
        for name in params:
            if name not in valid:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}. Valid parameters are: "
                    f"{sorted(valid)}."
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = [
            f"{name}={getattr(self, name)!r}"
            for name, default in self._parameter_defaults().items()
            if not _same(getattr(self, name), default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


def _same(value: object, default: object) -> bool:
    return value is default or (type(value) is type(default) and bool(value == default))
