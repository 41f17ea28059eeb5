r"""Estimators of the Hurst index: how fast the fluctuations of a path grow with the time over which they are taken.

For fractional Brownian motion of index $H$, increments over a lag $\ell$ have a variance proportional to $\ell^{2H}$,
and the range of a stretch of $n$ points, in units of the increments' standard deviation, grows as $n^H$. Both
estimators are slopes on logarithmic axes; neither knows the amplitude.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import gammaln


def variogram_hurst(paths: ArrayLike, lags: Sequence[int] = range(1, 9)) -> Float[np.ndarray, "*paths"]:
    r"""Half the slope of $\log\operatorname{mean}_i|y_{i+\ell}-y_i|^2$ against $\log\ell$.

    Args:
        paths: shape ``[*paths, points]``, equally spaced in time.
        lags: two or more, in points; short ones have most pairs to average over.
    """
    paths = np.asarray(paths, float)
    if len(lags) < 2 or not 0 < min(lags) <= max(lags) < paths.shape[-1]:
        raise ValueError(f"lags must be two or more in 1..{paths.shape[-1] - 1}, not {list(lags)}")
    squares = [np.mean((paths[..., lag:] - paths[..., :-lag]) ** 2, axis=-1) for lag in lags]
    return _slope(lags, np.log(squares)) / 2


def rescaled_range(increments: ArrayLike, window: int) -> Float[np.ndarray, "*series"]:
    r"""Hurst's statistic $R/S$, averaged over the windows that a series is cut into.

    In a window $x_1,\dots,x_n$ with mean $\bar x$, $R$ is the largest minus the smallest of the sums
    $\sum_{i\le k}(x_i-\bar x)$, $k=0,\dots,n$, and $S^2=\frac1n\sum_i(x_i-\bar x)^2$ (Hurst 1951). A shift or another
    unit changes nothing.

    Args:
        increments: shape ``[*series, points]``; points after the last whole window are left out.
        window: $n$, from 2 to ``points``.
    """
    x = np.asarray(increments, float)
    count = x.shape[-1] // window if window > 1 else 0
    if not count:
        raise ValueError(f"window must be in 2..{x.shape[-1]}, not {window}")
    x = x[..., : count * window].reshape(*x.shape[:-1], count, window)
    x = x - x.mean(-1, keepdims=True)
    sums = np.cumsum(x, axis=-1)  # the last one is zero, like the empty one
    return np.mean(np.ptp(sums, axis=-1) / x.std(-1), axis=-1)


def expected_rescaled_range(window: int) -> float:
    r"""$\mathbb E[R/S]$ of independent Gaussian increments, exact for every $n\ge2$ (Anis and Lloyd 1976).

    $$\mathbb E[R/S]_n=\frac{\Gamma(\frac{n-1}2)}{\sqrt\pi\,\Gamma(\frac n2)}\sum_{r=1}^{n-1}\sqrt{\frac{n-r}r}
    \;\to\;\sqrt{\tfrac{\pi n}2}.$$
    The limit is approached slowly and from below: over short windows it grows faster than $\sqrt n$.
    """
    r = np.arange(1, window)
    scale = np.exp(gammaln((window - 1) / 2) - gammaln(window / 2)) / np.pi**0.5
    return float(scale * np.sqrt((window - r) / r).sum())


def rescaled_range_hurst(
    increments: ArrayLike, windows: Sequence[int], *, corrected: bool = True
) -> Float[np.ndarray, "*series"]:
    r"""The slope of $\log(R/S)_n$ against $\log n$.

    Args:
        increments: shape ``[*series, points]``.
        windows: $n$, two or more.
        corrected: divide each $(R/S)_n$ by its expectation for independent increments and add $\frac12$ to the slope,
            which takes away the bias of short windows at $H=\frac12$. Without it that bias is the one of
            `expected_rescaled_range`: about $+0.1$ for windows of ten to a hundred points.
    """
    log = np.log([rescaled_range(increments, window) for window in windows])
    if not corrected:
        return _slope(windows, log)
    expected = np.log([expected_rescaled_range(window) for window in windows])
    return 0.5 + _slope(windows, log - expected.reshape(-1, *(1,) * (log.ndim - 1)))


def _slope(x: Sequence[int], logs: np.ndarray) -> np.ndarray:
    """Least-squares slope against $\\log x$ along the first axis."""
    if len(x) < 2:
        raise ValueError(f"a slope needs two points or more, not {list(x)}")
    t = np.log(np.asarray(x, float))
    t = t - t.mean()
    return np.tensordot(t, logs, 1) / (t @ t)
