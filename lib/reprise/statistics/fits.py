"""Fits that turn a curve into one number: scaling exponents, decay rates, times to a threshold, rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def loglog_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Exponent $a$ of the least-squares power law $y = c\\,x^a$ (a straight line in log-log axes).

    Args:
        x: positive abscissae, shape ``[n]``, at least two distinct.
        y: ordinates, shape ``[n]``; the result is NaN unless all are positive.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise ValueError(f"x and y must be vectors of the same length, at least 2, not {x.shape} and {y.shape}")
    if not (np.all(y > 0) and np.all(x > 0)):
        return float("nan")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def decay_rate(times: ArrayLike, values: ArrayLike, efoldings: float = 2.0) -> np.ndarray:
    """Rate $r$ of the least-squares exponential $|y| = c\\,e^{-rt}$ over a curve's first ``efoldings``.

    The fit, a straight line through $\\log|y|$, stops before the first value below $e^{-\\text{efoldings}}|y(0)|$, so
    that a floor or an oscillation further down does not enter it. A growing curve has a negative rate.

    Args:
        times: shape ``[n]``, increasing.
        values: curves, shape ``[..., n]``.
        efoldings: how far down to fit.

    Returns:
        Rates, shape ``[...]``, in inverse units of ``times``; NaN where fewer than two values are left to fit.
    """
    times, size = np.asarray(times, float), np.abs(np.asarray(values, float))
    if times.ndim != 1 or size.shape[-1:] != times.shape:
        raise ValueError(f"values must end in the length of times, not {size.shape} and {times.shape}")
    inside = np.logical_and.accumulate(size > np.exp(-efoldings) * size[..., :1], axis=-1)
    log = np.log(np.where(inside, size, 1.0))
    count = inside.sum(-1, keepdims=True).clip(1)
    t = np.where(inside, times - (inside * times).sum(-1, keepdims=True) / count, 0.0)
    spread = (t**2).sum(-1)
    with np.errstate(invalid="ignore"):
        return np.where(spread > 0, -(t * log).sum(-1) / np.where(spread > 0, spread, 1.0), np.nan)


def first_below(times: ArrayLike, values: ArrayLike, threshold: ArrayLike, censored: float = np.nan) -> np.ndarray:
    """First time at which a curve lies below a threshold.

    Args:
        times: shape ``[n]``, increasing.
        values: curves, shape ``[..., n]``.
        threshold: shape that broadcasts against ``values.shape[:-1]``.
        censored: what to return for a curve that never gets there.
    """
    times, values = np.asarray(times, float), np.asarray(values, float)
    below = values < np.asarray(threshold, float)[..., None]
    return np.where(below.any(-1), times[below.argmax(-1)], censored)


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's correlation: Pearson's between the ranks, ties sharing their mean rank.

    Args:
        x: shape ``[n]``.
        y: shape ``[n]``; NaN anywhere, or a constant vector, gives NaN.
    """
    x, y = _same_length(x, y)
    one, two = ((v[:, None] > v).sum(1) + 0.5 * (v[:, None] == v).sum(1) for v in (x, y))
    return _cosine(one - one.mean(), two - two.mean())


def kendall_tau(x: ArrayLike, y: ArrayLike) -> float:
    r"""Kendall's $\tau_b$: the share of pairs that two vectors order alike, minus that of pairs they order oppositely.

    A pair tied in either vector counts for neither, and $\tau_b$ divides by the geometric mean of the numbers of pairs
    not tied in ``x`` and in ``y``. For independent vectors without ties its mean is 0 and its variance
    $2(2n+5)/9n(n-1)$ (Kendall 1938, 1945).

    Args:
        x: shape ``[n]``.
        y: shape ``[n]``; NaN anywhere, or a constant vector, gives NaN.
    """
    x, y = _same_length(x, y)
    return _cosine(*(np.sign(v[:, None] - v) for v in (x, y)))


def _same_length(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be vectors of the same length, not {x.shape} and {y.shape}")
    if np.isnan(x).any() or np.isnan(y).any():
        # One NaN would only lose its comparisons; as all NaN the vectors have no order, and no correlation, left.
        return np.full_like(x, np.nan), np.full_like(y, np.nan)
    return x, y


def _cosine(one: np.ndarray, two: np.ndarray) -> float:
    size = np.sqrt(np.sum(one**2) * np.sum(two**2))
    return float(np.sum(one * two) / size) if size > 0 else float("nan")
