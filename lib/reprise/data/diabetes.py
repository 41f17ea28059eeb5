"""The diabetes regression data bundled with scikit-learn: 442 patients, ten measurements, one year's progression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from reprise.data import bundled


class Regression(NamedTuple):
    """Inputs and targets, each column with mean 0 and standard deviation 1 over all patients."""

    inputs: Float[np.ndarray, "442 10"]
    targets: Float[np.ndarray, " 442"]


def load() -> Regression:
    """Age, sex, body mass index, blood pressure and six blood serum values; target: progression (Efron et al. 2004)."""
    inputs, targets = (bundled.table(f"diabetes_{name}.csv.gz") for name in ("data_raw", "target"))
    return Regression(*((part - part.mean(0)) / part.std(0) for part in (inputs, targets)))
