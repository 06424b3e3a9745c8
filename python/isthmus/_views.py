# SPDX-License-Identifier: Apache-2.0
"""A fitted model to look at: plots, a report, and what a notebook shows of an estimator."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from isthmus import _coercion, _device_arrays, _sparse
from isthmus._scikit_learn import Transformer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from isthmus import _core
    from isthmus._report import Report


class Views(Transformer):
    """The methods that draw or describe; each imports what it needs when it is called."""

    encoder_layers: Sequence[int] | None
    decoder_layers: Sequence[int] | None

    # ---- plots ------------------------------------------------------------------------------------------------------

    def plot_history(self, ax: Any = None) -> Any:
        """Training and validation loss over the epochs, on a logarithmic scale where they are positive.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None: a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without matplotlib, which the extra ``plot`` brings.
        ValueError
            When no epoch was trained.
        """
        from isthmus import _plots

        return _plots.history(self.history_, ax)

    def plot_reconstructions(
        self, X: ArrayLike, n: int = 8, shape: Sequence[int] | None = None, ax: Any = None
    ) -> Any:
        """The first rows of X and their reconstructions: images one above the other, or curves over the features.

        Parameters
        ----------
        X : array-like of shape (rows, features)
        n : int
            How many rows, at most.
        shape : (height, width) or (height, width, channels), optional
            Of a row as an image, grey or, with 3 or 4 channels in [0, 1], coloured. None: a square where the number of
            features is one, from 8 x 8 on, else curves.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError, TypeError
            For X as in `reconstruct`, for a shape that the features do not fill, and for n below 1.
        """
        from isthmus import _plots

        if n < 1:
            raise ValueError(f"n must be at least 1; got {n}")
        core = self._ready()
        rows = _sparse.dense_rows(_device_arrays.on_host(self._rows(X, core)), slice(n))
        rows = _coercion.readable(rows, missing=core.masks_missing)
        image = _plots.image_shape(shape, core.n_features)
        y = self._run(core.reconstruct, rows, "X", core.n_features, core.masks_missing)
        return _plots.reconstructions(rows, y, image, ax)

    def plot_code(self, X: ArrayLike, labels: ArrayLike | None = None, ax: Any = None) -> Any:
        """The codes of X: a histogram of one unit, points for two, their two principal components for more.

        Parameters
        ----------
        X : array-like of shape (rows, features)
        labels : array-like of shape (rows,), optional
            Colours: a legend for up to 20 different ones, a colour bar for more numbers.
        ax : matplotlib.axes.Axes, optional

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError, TypeError
            For X as in `encode`, and for another number of labels than rows.
        """
        from isthmus import _plots

        core = self._ready()
        codes = self._run(core.encode, self._rows(X, core), "X", core.code_size, core.masks_missing)
        return _plots.code(_device_arrays.on_host(codes), labels, ax)

    # ---- text and HTML ----------------------------------------------------------------------------------------------

    def report(self, X: ArrayLike) -> Report:
        """What the model makes of X: loss, error beside that of PCA with as many components as the code has units, code
        units that never move, the worst features and rows, size and device.

        PCA is that of the rows of X themselves. It, the error beside it, features and units are computed from at most
        2,048 rows at equal distances, fewer where there are more than 2,048 features. With ``missing="mask"`` errors
        are those of what is there, and PCA sees the mean of its column for what is not.

        Parameters
        ----------
        X : array-like of shape (rows, features)
            At least two rows.

        Returns
        -------
        Report
            ``print`` shows it as text, a notebook as HTML; its attributes are the numbers.
        """
        from isthmus import _hourglass, _principal, _report
        from isthmus._network import network

        core = self._ready()
        array = _device_arrays.on_host(self._rows(X, core))
        if len(array) < 2:
            raise ValueError(f"X must have at least 2 rows for a report; got {len(array)}")
        errors = self._errors(core, array)
        scores = self._scores(core, array)
        missing = core.masks_missing
        x = _coercion.readable(_sparse.dense_rows(array, _principal.sample(*array.shape)), missing=missing)
        elements = np.empty(x.shape, np.float32)
        core.reconstruction_error(x, np.empty(len(x), np.float64), elements, False, 0)
        seen = _report.Seen(
            x=x,
            codes=self._run(core.encode, x, "X", core.code_size, missing),
            y=self._run(core.reconstruct, x, "X", core.n_features, missing),
            errors=elements.astype(np.float64),
        )
        loss = core.parameters["loss"]
        measure, error, pca_error = _report.compare(seen, loss, network(core).scaling, core.code_size)
        widths, code = _hourglass.fitted_widths(core)
        return _report.Report(
            name=type(self).__name__, widths=tuple(widths), code_size=core.code_size,
            n_parameters=_n_parameters(core), device=core.device, n_rows=len(array), n_sampled=len(x),
            loss_name=loss, loss=_report.mean_of_numbers(errors), measure=measure, error=error, pca_error=pca_error,
            dead_units=_report.dead_units(seen.codes),
            worst_features=_report.worst_features(seen.errors, core.feature_names),
            worst_rows=_report.worst_rows(scores), _code=code,
        )  # fmt: skip

    @property
    def _repr_html_(self) -> Any:
        """What a notebook shows; no attribute where scikit-learn was told to show text."""
        sklearn = sys.modules.get("sklearn")
        if sklearn is not None and sklearn.get_config()["display"] != "diagram":
            raise AttributeError("scikit-learn's configuration has display='text'")
        return self._html

    def _html(self) -> str:
        from isthmus import _hourglass

        core, facts = self._model, ""
        if core is not None:
            widths, code = _hourglass.fitted_widths(core)
            svg = _hourglass.hourglass(widths, code)
            facts = f"{_n_parameters(core):,} parameters, {core.epoch:,} epochs, {core.device}"
            facts += "" if core.loss is None else f", loss {core.loss:.6g}"
        else:
            found = _hourglass.wanted_widths(self.encoder_layers, self.decoder_layers)
            inside, code = ([4, 1, 4], 1) if found is None else found
            labels = ["", "code", ""] if found is None else [f"{width:,}" for width in inside]
            outside = 2 * max(inside)
            svg = _hourglass.hourglass([outside, *inside, outside], code + 1, ["features", *labels, "features"])
        return _hourglass.page(repr(self), svg, facts)

    if TYPE_CHECKING:

        def _ready(self) -> _core.Model: ...
        def _rows(self, X: object, core: _core.Model) -> Any: ...
        @staticmethod
        def _run(run: Any, array: Any, name: str, width: int, missing: bool = False) -> Any: ...
        def _errors(self, core: _core.Model, array: Any) -> Any: ...
        def _scores(self, core: _core.Model, array: Any) -> Any: ...


def _n_parameters(core: _core.Model) -> int:
    return sum(int(np.prod(shape)) for shape in core.shapes)
