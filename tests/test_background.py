"""Programs in the background."""

from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import numpy as np
import pytest

from reprise.training.background import start


def test_result_and_precision_are_those_asked_for():
    reciprocal = lambda x: 1 / (3 * x)
    with ThreadPoolExecutor(1) as pool:
        single, double = (start(pool, reciprocal, np.ones(2), double=double) for double in (False, True))
        assert single.result().dtype == np.float32
        np.testing.assert_array_equal(double.result(), np.full(2, 1 / 3))
    assert jnp.ones(()).dtype == jnp.float32


def test_effort_changes_nothing_but_the_compilation():
    with ThreadPoolExecutor(1) as pool:
        results = [start(pool, jnp.cumsum, np.arange(5.0), effort=effort).result() for effort in (0, 1)]
    np.testing.assert_array_equal(results, [[0, 1, 3, 6, 10]] * 2)


def test_mistakes_appear_where_the_program_is_started():
    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="incompatible shapes"):
        start(pool, jnp.add, np.ones(2), np.ones(3))
