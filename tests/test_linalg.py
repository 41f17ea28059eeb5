import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.numerics.linalg import truncated_lstsq

solve = jax.jit(truncated_lstsq)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("shape", [(5, 12), (12, 5)])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_truncated_solution_is_the_singular_value_decompositions(float64, shape, rank):
    rng = np.random.default_rng(0)
    matrix, target = rng.normal(size=shape), rng.normal(size=shape[0])
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    got = solve(matrix, target, rank=rank)
    np.testing.assert_allclose(got.solution, vt[:rank].T @ ((u[:, :rank].T @ target) / s[:rank]), rtol=1e-10)
    np.testing.assert_allclose(got.singular_values, s, rtol=1e-12)
    assert got.kept == rank


@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_rank_deficient_matrices_get_the_pseudoinverse(float64, shape):
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    target = rng.normal(size=shape[0])
    got = solve(matrix, target)
    np.testing.assert_allclose(got.solution, np.linalg.pinv(matrix) @ target, rtol=1e-8)
    assert got.kept == 3


def test_rtol_cuts_at_its_share_of_the_largest_value():
    got = solve(jnp.diag(jnp.array([8.0, 4.0, 0.5, 0.0])), jnp.ones(4), rtol=0.1)
    np.testing.assert_allclose(got.solution, [1 / 8, 1 / 4, 0, 0], rtol=1e-6)
    assert got.kept == 2


def test_nothing_is_kept_of_a_zero_matrix():
    got = solve(jnp.zeros((3, 4)), jnp.ones(3))
    np.testing.assert_array_equal(got.solution, 0)
    assert got.kept == 0
