import numpy as np
import pytest
from sklearn.datasets import load_digits

from reprise.data import digits


def test_parts_are_disjoint_and_hold_the_images():
    train, test = digits.splits((1500, 297), seed=3)
    assert train.images.shape == (1500, 64)
    assert train.images.dtype == np.float32
    assert train.images.max() == 1
    rows = np.concatenate([train.images, test.images])
    whole = load_digits()
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(whole.data / 16, axis=0).astype(np.float32))
    first = np.flatnonzero((whole.data == 16 * test.images[0]).all(1))
    assert whole.target[first[0]] == test.labels[0]


def test_seed_decides_the_split():
    np.testing.assert_array_equal(digits.splits((10, 5), 1)[1].labels, digits.splits((10, 5), 1)[1].labels)
    assert (digits.splits((100,), 1)[0].labels != digits.splits((100,), 2)[0].labels).any()


def test_too_large_parts_are_refused():
    with pytest.raises(ValueError, match="there are 1797"):
        digits.splits((1700, 98), 0)
