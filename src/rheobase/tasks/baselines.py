"""Simple models every result is compared with, and the folder that keeps their results.

All are fitted on the training split and scored by the task's metric on the test split. For classes:

- `constant`: always the most frequent class;
- `linear`: multinomial logistic regression (L2, C = 1) by L-BFGS in single precision, run to
  convergence up to 10,000 training samples. Above that it is stopped after 100 iterations, which
  keeps 60,000 images of 28x28 pixels well under a minute and is still short of the optimum of the
  training loss;
- `nearest_neighbour`: the class of the nearest training sample (Euclidean distance, brute force).

For values: `constant` is the mean, `linear` is least squares with an intercept (with an L2 price of 1e-6 of
the inputs' mean variance, so that it is defined whatever the inputs), `nearest_neighbour` as above.

Results are kept in `<cache root>/baselines/<hash>.json`, where the hash is of the data themselves, of
how the models are fitted, and of the version of scikit-learn. The cache root is the environment
variable `RHEOBASE_CACHE` or, where that is not set, the user's cache folder.

Source: F. Pedregosa et al., "Scikit-learn: Machine Learning in Python", JMLR 12, 2825 (2011).
Not modelled: tuned baselines. No hyperparameter is chosen on any data.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from rheobase.tasks.metrics import ACCURACY, MEAN_SQUARED_ERROR, Metric

Scores = dict[str, float]

_RECIPE = "constant; logistic regression L-BFGS C=1, 100 iterations above 10000; 1-NN"
_CONVERGED_UP_TO = 10_000


def classification(
    train_inputs: Tensor,  # shape: [N, ...]
    train_targets: Tensor,  # shape: [N], classes
    test_inputs: Tensor,  # shape: [M, ...]
    test_targets: Tensor,  # shape: [M], classes
    metric: Metric = ACCURACY,
) -> Scores:
    """The metric of `constant`, `linear` and `nearest_neighbour` on the test data.

    >>> left, right = torch.zeros(3, 1), torch.ones(2, 1)
    >>> x, y = torch.cat([left, right]), torch.tensor([0, 0, 0, 1, 1])
    >>> classification(x, y, x, y)
    {'constant': 0.6, 'linear': 1.0, 'nearest_neighbour': 1.0}
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    x, y = train_inputs.flatten(1).numpy(), train_targets.numpy()
    test_x = test_inputs.flatten(1).numpy()
    majority = int(torch.bincount(train_targets).argmax())
    converges = len(x) <= _CONVERGED_UP_TO
    linear = LogisticRegression(max_iter=1000 if converges else 100)
    neighbour = KNeighborsClassifier(1, algorithm="brute")
    with warnings.catch_warnings():
        if not converges:
            warnings.simplefilter("ignore", ConvergenceWarning)
        linear.fit(x, y)
    return {
        "constant": metric.mean(torch.full_like(test_targets, majority), test_targets),
        "linear": metric.mean(torch.from_numpy(linear.predict(test_x)), test_targets),
        "nearest_neighbour": metric.mean(torch.from_numpy(neighbour.fit(x, y).predict(test_x)), test_targets),
    }


def regression(
    train_inputs: Tensor,  # shape: [N, ...]
    train_targets: Tensor,  # shape: [N, K], values
    test_inputs: Tensor,  # shape: [M, ...]
    test_targets: Tensor,  # shape: [M, K], values
    metric: Metric = MEAN_SQUARED_ERROR,
) -> Scores:
    """The metric of `constant`, `linear` and `nearest_neighbour` on the test data.

    >>> x = torch.arange(4.0).unsqueeze(1)
    >>> {name: round(value, 6) for name, value in regression(x, 2 * x, x, 2 * x).items()}
    {'constant': 5.0, 'linear': 0.0, 'nearest_neighbour': 0.0}
    """
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor

    x, y = train_inputs.flatten(1).double(), train_targets.double()
    test_x = test_inputs.flatten(1).double().numpy()
    price = 1e-6 * len(x) * float(x.var(0, correction=0).mean())
    linear = Ridge(alpha=max(price, 1e-12)).fit(x.numpy(), y.numpy())
    neighbour = KNeighborsRegressor(1, algorithm="brute").fit(x.numpy(), y.numpy())
    answers = {
        "constant": y.mean(0).expand(test_targets.shape),
        "linear": torch.from_numpy(linear.predict(test_x)).reshape(test_targets.shape),
        "nearest_neighbour": torch.from_numpy(neighbour.predict(test_x)).reshape(test_targets.shape),
    }
    return {name: metric.mean(answer, test_targets) for name, answer in answers.items()}


def cache_root() -> Path:
    """The folder for what can be computed again: `RHEOBASE_CACHE`, or else the user's cache folder."""
    given = os.environ.get("RHEOBASE_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("rheobase"))


def content_hash(*tensors: Tensor, recipe: str = _RECIPE) -> str:
    """A hash of shapes, types and values, and of how the baselines are fitted.

    >>> content_hash(torch.zeros(2)) == content_hash(torch.zeros(2))
    True
    >>> content_hash(torch.zeros(2)) == content_hash(torch.zeros(1, 2))
    False
    """
    import sklearn

    digest = hashlib.blake2b(f"{recipe}; scikit-learn {sklearn.__version__}".encode(), digest_size=16)
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"|{array.dtype.str}{array.shape}|".encode())
        digest.update(array.data)
    return digest.hexdigest()


def stored(key: str, compute: Callable[[], Scores]) -> Scores:
    """The scores kept under `key`; computed and kept where there are none that can be read.

    A damaged file is computed again and overwritten. A cache folder that cannot be written costs a
    warning and not the result.
    """
    path = cache_root() / "baselines" / f"{key}.json"
    kept = _read(path)
    if kept is not None:
        return kept
    scores = compute()
    try:
        _write(path, scores)
    except OSError as error:
        warnings.warn(
            f"baselines were computed but could not be kept in {path} ({error}), so the next run computes "
            "them again; set RHEOBASE_CACHE to a folder that can be written",
            stacklevel=2,
        )
    return scores


def _read(path: Path) -> Scores | None:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent, unreadable, not UTF-8 or not JSON
        return None
    if not isinstance(table, dict) or not table:
        return None
    numbers = all(isinstance(value, float) and math.isfinite(value) for value in table.values())
    return table if numbers else None


def _write(path: Path, scores: Scores) -> None:
    """Whole or not at all: another process may be reading, and this one may be killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(scores, file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
