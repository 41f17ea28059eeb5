"""Data sets that come with scikit-learn, read without `sklearn.datasets`, whose import takes longer than many a
notebook's training."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float

from reprise.errors import DataError, closest


def table(name: str, delimiter: str | None = None) -> Float[np.ndarray, "rows columns"]:
    """The numbers of one of scikit-learn's files.

    Args:
        name: of a file in its folder ``datasets/data``, e.g. ``digits.csv.gz``.
        delimiter: between columns; white space if none is given.

    Raises:
        DataError: there is no such file.
    """
    folder = Path(find_spec("sklearn").origin).parent / "datasets" / "data"
    if not (folder / name).exists():
        there = sorted(path.name for path in folder.glob("*.csv*"))
        raise DataError(f"scikit-learn bundles no '{name}'{closest(name, there)}; there is {', '.join(there)}")
    return np.loadtxt(folder / name, delimiter=delimiter)
