from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from reprise.numerics.margins import least_norm_margin, nuclear_norm_margin, separable


def some_constraints(seed, count=6, shape=(3, 4)):
    """Constraints that a matrix of ones plus noise satisfies."""
    return np.random.default_rng(seed).normal(0.4, 1.0, size=(count, *shape))


@pytest.fixture(scope="module")
def nuclear():
    return jax.jit(partial(nuclear_norm_margin, steps=2000))


@pytest.mark.parametrize("seed", range(3))
def test_least_norm_is_slsqp_and_certified(seed):
    a = some_constraints(seed).reshape(6, -1)
    found = least_norm_margin(a)
    reference = minimize(
        lambda w: 0.5 * w @ w,
        np.zeros(12),
        jac=lambda w: w,
        constraints={"type": "ineq", "fun": lambda w: a @ w - 1, "jac": lambda w: a},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(found.point, reference.x, atol=1e-6)
    margins = a @ found.point
    assert margins.min() >= 1 - 1e-12
    assert abs(found.gap) < 1e-10
    assert np.linalg.norm(found.multipliers @ a) == pytest.approx(1)
    np.testing.assert_allclose(found.multipliers * (margins - 1), 0, atol=1e-10)


def test_separable_and_least_norm_agree_on_what_is_feasible():
    random = np.random.default_rng(3)
    answers = []
    for _ in range(40):
        a = random.normal(size=(6, 3))
        answers.append(separable(a))
        assert answers[-1] == np.isfinite(least_norm_margin(a).primal)
    assert 0 < sum(answers) < 40
    assert not separable(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert separable(np.eye(3).reshape(3, 1, 3))


def test_nuclear_norm_of_one_constraint_is_its_leading_singular_pair(nuclear):
    a = some_constraints(4, count=1)
    left, values, right = np.linalg.svd(a[0])
    with jax.enable_x64(True):
        found = nuclear(jnp.asarray(a))
    np.testing.assert_allclose(found.point, np.outer(left[:, 0], right[0]) / values[0], atol=1e-8)
    assert found.primal == pytest.approx(1 / values[0])


def test_nuclear_norm_is_certified_by_its_dual(nuclear):
    for seed in range(3):
        a = some_constraints(seed)
        with jax.enable_x64(True):
            found = nuclear(jnp.asarray(a))
        point, multipliers = np.asarray(found.point), np.asarray(found.multipliers)
        # Weak duality, recomputed here, leaves no room for a better matrix.
        assert np.einsum("jrc,rc->j", a, point).min() >= 1 - 1e-12
        assert multipliers.min() >= 0
        assert np.linalg.norm(np.einsum("j,jrc->rc", multipliers, a), 2) <= 1 + 1e-12
        assert np.linalg.svd(point)[1].sum() <= multipliers.sum() * (1 + 1e-8)
        least = least_norm_margin(a)
        assert float(found.primal) < np.linalg.svd(least.point)[1].sum()
        assert np.linalg.norm(point) > least.primal


def test_diagonal_constraints_make_the_nuclear_norm_a_sum(nuclear):
    # On diagonal matrices the nuclear norm is the l1 norm: min |x| + |y| + |z| s.t. x + 2y >= 1, z >= 1, by hand.
    a = np.array([np.diag([1.0, 2.0, 0.0]), np.diag([0.0, 0.0, 1.0])])
    with jax.enable_x64(True):
        found = nuclear(jnp.asarray(a))
    np.testing.assert_allclose(found.point, np.diag([0.0, 0.5, 1.0]), atol=1e-8)
    assert found.primal == pytest.approx(1.5)
