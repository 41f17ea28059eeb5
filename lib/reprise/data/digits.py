"""Scikit-learn's handwritten digits, 8 by 8 pixels, bundled with it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32
from sklearn.datasets import load_digits


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
    data = load_digits()
    if sum(sizes) > len(data.target):
        raise ValueError(f"the parts hold {sum(sizes)} images, and there are {len(data.target)}")
    order = np.random.default_rng(seed).permutation(len(data.target))[: sum(sizes)]
    images, labels = (data.data[order] / 16).astype(np.float32), data.target[order].astype(np.int32)
    ends = np.cumsum(sizes)[:-1]
    return tuple(Split(x, y) for x, y in zip(np.split(images, ends), np.split(labels, ends), strict=True))
