"""Fits that turn a curve into one number: scaling exponents and decay rates."""

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
