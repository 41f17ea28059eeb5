"""Scikit-learn's handwritten digits, 8 by 8 pixels, bundled with it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from reprise.data import bundled


class Split(NamedTuple):
    """Images as rows of pixels between 0 and 1, and their digits."""

    images: Float32[np.ndarray, "n 64"]
    labels: Int32[np.ndarray, " n"]


def splits(sizes: tuple[int, ...], seed: int) -> tuple[Split, ...]:
    """The 1797 digits shuffled and cut into disjoint parts, e.g. for training, validation and test.

    Args:
        sizes: number of images of each part.
        seed: of the shuffle.

    Raises:
        ValueError: the parts hold more images than there are.
    """
    table = bundled.table("digits.csv.gz", delimiter=",").astype(np.float32)  # 64 grey levels and the digit
    if sum(sizes) > len(table):
        raise ValueError(f"the parts hold {sum(sizes)} images, and there are {len(table)}")
    chosen = table[np.random.default_rng(seed).permutation(len(table))[: sum(sizes)]]
    images, labels = (chosen[:, :64] / 16).astype(np.float32), chosen[:, 64].astype(np.int32)
    ends = np.cumsum(sizes)[:-1]
    return tuple(Split(x, y) for x, y in zip(np.split(images, ends), np.split(labels, ends), strict=True))
