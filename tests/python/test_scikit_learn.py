# SPDX-License-Identifier: Apache-2.0
"""scikit-learn's contract: its own checks, those that check_estimator does not call, and the tools people put an
estimator into. A package that is missing skips; with ISTHMUS_TEST_PACKAGES=all, as in CI, it fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks import assert_same_bits, bits, package, relative_error, run_python
from isthmus import Autoencoder
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@pytest.fixture
def x(rng: np.random.Generator) -> F32:
    return rng.random((60, 6)).astype(np.float32)


@pytest.fixture
def fitted(x: F32) -> Autoencoder:
    return Autoencoder((5, 2), epochs=2, random_state=0).fit(x)


# ---- scikit-learn's own checks --------------------------------------------------------------------------------------

CHECKS = """
import sys, warnings
warnings.simplefilter("ignore")
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
import isthmus
model = eval(sys.argv[1], vars(isthmus))
assert not get_tags(model).non_deterministic
# Repeating a row moves it to another minibatch, and float32 rounds: scikit-learn excuses its own SGD estimators, too.
# test_integer_weights_are_repeated_rows stands in its place.
excused = {f"check_sample_weight_equivalence_on_{kind}_data": "minibatches" for kind in ("dense", "sparse")}
results = check_estimator(model, expected_failed_checks=excused, on_fail=None, on_skip=None)
wrong = [(r["check_name"], r["status"], r["exception"]) for r in results if r["status"] not in ("passed", "xfail")]
assert len(results) > 45 and sum(r["status"] == "xfail" for r in results) <= 2
if wrong:
    sys.exit("\\n".join(map(str, wrong)))
print(*sorted({r["check_name"] for r in results}))
"""

MODELS = [
    "Autoencoder(epochs=5)",
    "Autoencoder((3, 2), (3,), activation='tanh', loss='huber', optimizer='sgd', momentum=0.9, epochs=3,"
    " shuffle=False)",
    "Autoencoder((4,), (), loss='mae', optimizer='adamw', input_noise=0.1, epochs=5, validation_fraction=0.2,"
    " patience=2, learning_rate_schedule='plateau', clip_norm=1.0, random_state=3)",
    "Autoencoder((2,), loss='bce', scaling='minmax', epochs=3)",
    "Autoencoder((3,), missing='mask', scaling='standard', epochs=3)",
    "Autoencoder((4, 2), tied_weights=True, code_l1=0.01, code_topk=1, epochs=3)",
    "VariationalAutoencoder(epochs=3)",
    "AnomalyDetector()",
    "AnomalyDetector((3,), scaling=None, loss='mae', contamination=0.2, epochs=3)",
    "AnomalyDetector((3,), missing='mask', epochs=3)",
]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_checks_of_scikit_learn(model: str) -> None:
    """All checks for a transformer, and an outlier detector; one that scikit-learn skips counts as failed."""
    package("sklearn", "1.6")
    for name in ("array_api_strict", "pandas", "polars"):  # without one, checks are left out
        package(name)
    ran = run_python(CHECKS, model, env={"SCIPY_ARRAY_API": "1"}).split()
    assert {"check_n_features_in_after_fitting", "check_methods_subset_invariance", "check_fit_idempotent"} <= set(ran)


# What check_estimator does not call.
MORE_CHECKS = [
    "check_dataframe_column_names_consistency", "check_get_feature_names_out_error",
    "check_global_output_transform_pandas", "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable", "check_set_output_transform", "check_set_output_transform_pandas",
    "check_set_output_transform_polars", "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", MORE_CHECKS)
def test_checks_that_check_estimator_does_not_call(check: str) -> None:
    package("sklearn", "1.6")
    for name in ("pandas", "polars"):
        package(name)
    from sklearn.utils import estimator_checks
    from sklearn.utils._testing import SkipTest

    function = getattr(estimator_checks, check)
    try:
        function(Autoencoder.__name__, Autoencoder(epochs=2, random_state=0))
    except SkipTest as skipped:
        pytest.fail(f"{check} was skipped: {skipped}")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_codes_are_float32_and_scores_float64(x: F32, dtype: str) -> None:
    data = (100 * x).astype(dtype)
    model = Autoencoder((3,), epochs=1, random_state=0).fit(data)
    for rows in (model.transform(data), model.reconstruct(data), model.inverse_transform(model.encode(data))):
        assert rows.dtype == np.float32
    assert model.reconstruction_error(data).dtype == model.score_samples(data).dtype == np.float64
    assert type(model.score(data)) is float


@pytest.mark.parametrize("parameters", [
    {}, {"loss": "huber", "optimizer": "sgd", "momentum": 0.5, "learning_rate": 0.05}, {"clip_norm": 0.1},
], ids=str)
def test_integer_weights_are_repeated_rows(x: F32, parameters: dict[str, Any]) -> None:
    """In full batches without noise: the sums are the same, their order is not. Weight 0 is a row left out."""
    counts = np.random.default_rng(1).integers(0, 4, len(x))
    repeated = np.repeat(x, counts, axis=0)
    options = {"epochs": 30, "batch_size": 1000, "random_state": 0, **parameters}
    weighted = Autoencoder((4, 2), **options).fit(x, sample_weight=counts)
    plain = Autoencoder((4, 2), **options).fit(repeated)
    assert relative_error(weighted.encode(x), plain.encode(x)) < 1e-4
    assert relative_error(weighted.score_samples(x), plain.score_samples(x)) < 1e-4
    assert weighted.score(x, sample_weight=counts) == pytest.approx(plain.score(repeated), rel=1e-4)
    unweighted = Autoencoder((4, 2), **options).fit(x)
    assert relative_error(unweighted.encode(x), plain.encode(x)) > 1e-3  # it can fail


# ---- scikit-learn's tools -------------------------------------------------------------------------------------------


def test_clone(fitted: Autoencoder, x: F32) -> None:
    clone = package("sklearn.base").clone
    duplicate = clone(fitted)
    assert duplicate.get_params() == fitted.get_params() and not hasattr(duplicate, "n_iter_")
    assert bits(duplicate.fit(x)) == bits(fitted)
    assert clone(Autoencoder([4, 2])).encoder_layers == [4, 2]


def test_pipeline(x: F32) -> None:
    package("sklearn")
    from sklearn.exceptions import NotFittedError
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.validation import check_is_fitted

    pipeline = make_pipeline(StandardScaler(), Autoencoder((2,), epochs=2, random_state=0))
    assert pipeline.fit_transform(x).shape == (60, 2)
    assert pipeline.inverse_transform(pipeline.transform(x)).shape == x.shape
    assert pipeline.get_feature_names_out().tolist() == ["autoencoder0", "autoencoder1"]
    check_is_fitted(pipeline)
    with pytest.raises(NotFittedError):
        check_is_fitted(Autoencoder())
    union = make_union(Autoencoder((2,), epochs=2, random_state=0), StandardScaler())
    assert union.fit_transform(x).shape == (60, 8)
    classifier = make_pipeline(Autoencoder((4,), epochs=2, random_state=0), LogisticRegression())
    assert classifier.fit(x, np.arange(60) % 2).predict(x).shape == (60,)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # joblib's own
def test_searches(x: F32) -> None:
    package("sklearn")
    from sklearn.model_selection import GridSearchCV, cross_val_score

    grid = {"encoder_layers": [(1,), (4,)], "epochs": [1, 20]}
    search = GridSearchCV(Autoencoder(random_state=0), grid, cv=3, n_jobs=2).fit(x)
    assert search.best_params_["epochs"] == 20
    assert search.cv_results_["mean_test_score"].max() == search.best_score_ < 0
    alone = GridSearchCV(Autoencoder(random_state=0), grid, cv=3).fit(x)
    assert_same_bits(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.best_estimator_.encode(x).shape[1] == search.best_params_["encoder_layers"][-1]
    assert len(cross_val_score(Autoencoder((2,), epochs=1), x, np.arange(60) % 2)) == 5


def test_joblib_file(fitted: Autoencoder, x: F32, tmp_path: Path) -> None:
    joblib = package("joblib")
    joblib.dump(fitted, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    assert_same_bits(again.encode(x), fitted.encode(x))
    assert again.get_params() == fitted.get_params()
