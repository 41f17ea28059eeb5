"""Time series with missing values, and their interpolation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Series(NamedTuple):
    """Labelled time series with missing values.

    Attributes:
        times: shape ``[points]``, increasing.
        values: shape ``[series, points, channels]``, NaN where a value is missing.
        labels: class of each series, shape ``[series]``.
    """

    times: np.ndarray
    values: np.ndarray
    labels: np.ndarray


def oscillations(
    rng: np.random.Generator, count: int, points: int = 40, *, missing: float = 0.0, noise: float = 0.2
) -> Series:
    r"""Three classes of noisy rotations $(\cos\phi,\sin\phi)$ on $[0,1]$ that differ in how their phase moves.

    $\phi(t)=\phi_0+2\pi\,\{t,\;2t,\;0.25t+1.25t^2\}$ with $\phi_0$ uniform, so that a single point says nothing: the
    classes are slow, fast and accelerating. Values go missing independently in each channel.

    Args:
        rng: source of phases, noise and gaps.
        count: number of series.
        points: equally spaced times.
        missing: share of the values to drop, exactly ``round(missing * points)`` of every channel of every series.
        noise: standard deviation of the observation noise.
    """
    if not 0 <= missing < 1:
        raise ValueError(f"missing must be in [0, 1), not {missing}")
    times = np.linspace(0, 1, points)
    labels = rng.integers(0, 3, count)
    phase = 2 * np.pi * (rng.random((count, 1)) + _turns(times)[labels])
    values = np.stack([np.cos(phase), np.sin(phase)], axis=-1) + noise * rng.standard_normal((count, points, 2))
    rank = rng.random(values.shape).argsort(axis=1).argsort(axis=1)
    return Series(times, np.where(rank < round(missing * points), np.nan, values), labels)


def class_posterior(series: Series, noise: float = 0.2, phases: int = 96) -> np.ndarray:
    r"""Probabilities of the three classes of `oscillations` given a series' observed values, by Bayes' rule.

    No classifier is right more often than the one that answers with the most probable class. The likelihood of class
    $c$ is $\int_0^1\prod_{i\text{ seen}}N\bigl(x_i;\,m_i(c,\phi_0),\,s^2\bigr)\,\mathrm d\phi_0$, here a sum
    over equally spaced phases, which converges exponentially fast in their number once they resolve its peak.

    Args:
        series: what `oscillations` returns; its labels are not looked at.
        noise: $s$, the standard deviation that it was drawn with.
        phases: number of phases.

    Returns:
        Shape ``[series, 3]``; rows add up to one.
    """
    phase = 2 * np.pi * (np.arange(phases)[:, None] / phases + _turns(series.times)[:, None])
    means = np.stack([np.cos(phase), np.sin(phase)], axis=-1).reshape(3 * phases, -1)
    flat = series.values.reshape(len(series.values), -1)
    seen = np.isfinite(flat)
    # Sum of squares over the observed values, up to a term that is the same for all means.
    squares = seen @ (means**2).T - 2 * np.where(seen, flat, 0.0) @ means.T
    log = (-squares / (2 * noise**2)).reshape(len(flat), 3, phases)
    likelihood = np.exp(log - log.max((1, 2), keepdims=True)).sum(-1)
    return likelihood / likelihood.sum(1, keepdims=True)


def interpolate(times: ArrayLike, values: ArrayLike, grid: ArrayLike) -> np.ndarray:
    """Linear interpolation of each channel between its observed values, constant before the first and after the last.

    The same path as `diffrax.LinearInterpolation` after filling gaps, for many series at once on the host.

    Args:
        times: shape ``[points]``, increasing.
        values: shape ``[series, points, channels]``, NaN where missing; every channel has at least one value.
        grid: where to evaluate, shape ``[n]``.

    Returns:
        Shape ``[series, n, channels]``.
    """
    times, values, grid = np.asarray(times, float), np.asarray(values, float), np.asarray(grid, float)
    seen = np.isfinite(values)
    if not seen.any(axis=1).all():
        raise ValueError("every channel of every series needs at least one observed value")
    points = len(times)
    # Nearest observed index at or before, and at or after, every point of the data; then of the grid.
    index = np.arange(points)[:, None]
    before = np.maximum.accumulate(np.where(seen, index, -1), axis=1)
    after = np.minimum.accumulate(np.where(seen, index, points)[:, ::-1], axis=1)[:, ::-1]
    left = np.clip(np.searchsorted(times, grid, side="right") - 1, 0, points - 1)
    right = np.minimum(left + (times[left] < grid), points - 1)
    low, high = before[:, left], after[:, right]
    low, high = np.where(low < 0, high, low), np.where(high >= points, low, high)
    one, two = np.take_along_axis(values, low, 1), np.take_along_axis(values, high, 1)
    span = times[high] - times[low]
    weight = np.clip(np.where(span > 0, (grid[:, None] - times[low]) / np.where(span > 0, span, 1.0), 0.0), 0, 1)
    return one + weight * (two - one)


def _turns(times: np.ndarray) -> np.ndarray:
    """Turns of the three classes since the start, shape ``[3, points]``."""
    return np.stack([times, 2 * times, 0.25 * times + 1.25 * times**2])
