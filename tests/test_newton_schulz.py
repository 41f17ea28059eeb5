import jax
import numpy as np
import pytest

from reprise.numerics.newton_schulz import newton_inverse, newton_residual, safe_scale


def matrices(rng, batch=(3, 2), n=4):
    x = rng.normal(size=(*batch, 7, n))
    return np.einsum("...ki,...kj->...ij", x, x) / 7


def iterate(matrix, scale, iterations):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(newton_inverse, static_argnames="iterations")(matrix, scale, iterations=iterations))


def test_iterates_end_at_the_inverse_and_square_their_residual():
    matrix = matrices(np.random.default_rng(0))
    values = np.linalg.eigvalsh(matrix)
    iterates = iterate(matrix, safe_scale(values), 20)
    np.testing.assert_allclose(iterates[-1], np.linalg.inv(matrix), rtol=1e-8)
    residual = np.eye(4) - iterates @ matrix
    np.testing.assert_allclose(residual[1:6], (residual @ residual)[:5], atol=1e-12)
    for k in (0, 3, 8):
        shrunk = np.sort(np.linalg.eigvalsh((residual[k] + residual[k].mT) / 2))
        np.testing.assert_allclose(
            shrunk, np.sort(newton_residual(values, safe_scale(values)[..., None], k)), atol=1e-9
        )


def test_twice_the_safe_scale_is_the_limit_of_convergence():
    matrix = matrices(np.random.default_rng(1), batch=())
    values = np.linalg.eigvalsh(matrix)
    assert np.abs(np.eye(4) - iterate(matrix, 1.98 * safe_scale(values), 24)[-1] @ matrix).max() < 1e-9
    assert newton_residual(values, 2.02 * safe_scale(values), 10).max() > 1e3
    assert newton_residual(values, 2 * safe_scale(values), 30).max() == pytest.approx(1, abs=1e-4)


def test_a_matrix_need_not_be_symmetric():
    matrix = np.random.default_rng(2).normal(size=(4, 4))
    scale = 1 / np.linalg.norm(matrix, 2) ** 2
    np.testing.assert_allclose(iterate(matrix, scale, 30)[-1] @ matrix, np.eye(4), atol=1e-9)
