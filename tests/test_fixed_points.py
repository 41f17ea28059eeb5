import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from reprise.dynamics.fixed_points import anderson, equilibrium

DIM = 5


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def contraction(rng, norm=0.7, dim=DIM):
    weight = rng.normal(size=(dim, dim))
    return norm * weight / np.linalg.norm(weight, 2), rng.normal(size=dim)


def layer(z, args):
    return jnp.tanh(args[0] @ z + args[1])


def fixed_point(args):
    z = np.zeros(DIM)
    for _ in range(300):
        z = np.tanh(args[0] @ z + args[1])
    return z


def gmres(matrix, target, start, size):
    """The vector of smallest residual in ``start`` plus a Krylov space, by least squares over an orthonormal basis."""
    residual = target - matrix @ start
    powers = [residual]
    for _ in range(size - 1):
        powers.append(matrix @ np.linalg.qr(np.stack(powers, 1))[0][:, -1])
    basis, _ = np.linalg.qr(np.stack(powers, 1))
    return start + basis @ np.linalg.lstsq(matrix @ basis, residual, rcond=None)[0]


def test_anderson_on_an_affine_map_is_gmres(float64):
    """Iterate k + 1 is the image of GMRES's k-th (Walker & Ni 2011, theorem 2.2), in every row of a batch."""
    rng = np.random.default_rng(4)
    weight, _ = contraction(rng, 0.95, 8)
    drives, starts = rng.normal(size=(2, 3, 8))
    run = lambda k: jax.jit(lambda: anderson(lambda z: z @ weight.T + drives, jnp.asarray(starts), k, depth=8).value)()
    for k in (2, 5):
        krylov = np.stack([gmres(np.eye(8) - weight, d, z, k) for d, z in zip(drives, starts, strict=True)])
        np.testing.assert_allclose(run(k + 1), krylov @ weight.T + drives, rtol=1e-9)


def test_anderson_agrees_with_scipy_and_with_the_root(float64):
    rng = np.random.default_rng(5)
    args, start = contraction(rng, 1.2), rng.normal(size=DIM)
    few, many, plain = jax.jit(lambda start: [
        anderson(lambda z: layer(z, args), start, 7, depth=3, damping=0.3, ridge=1e-4).value,
        anderson(lambda z: layer(z, args), start, 60, depth=3),
        anderson(lambda z: layer(z, args), start, 60, depth=0),
    ])(start)  # fmt: skip
    residual = lambda z: np.tanh(args[0] @ z + args[1]) - z
    options = {"alpha": 0.7, "w0": 1e-2, "M": 3, "line_search": None}
    np.testing.assert_allclose(few, scipy.optimize.anderson(residual, start, iter=7, **options), rtol=1e-9)
    np.testing.assert_allclose(many.value, scipy.optimize.root(residual, start, tol=1e-14).x, atol=1e-13)
    np.testing.assert_allclose(many.residuals[0], np.linalg.norm(residual(start)))
    z = start
    for size in plain.residuals[:5]:
        np.testing.assert_allclose(size, np.linalg.norm(residual(z)))
        z = z + residual(z)
    assert many.residuals[20] < 1e-3 * plain.residuals[20]


def test_anderson_stops_at_a_tolerance_and_survives_without_one():
    rng = np.random.default_rng(6)
    weight, drive = contraction(rng)
    function = lambda z: jnp.tanh(z @ weight.T.astype("float32") + drive)
    root = fixed_point((weight, drive)).astype("float32")
    starts = jnp.stack([root, jnp.zeros(DIM), 1e-30 * jnp.ones(DIM)]).astype("float32")
    free, stopped = jax.jit(lambda z: (anderson(function, z, 100), anderson(function, z, 100, tolerance=1e-5)))(starts)
    np.testing.assert_allclose(free.value, np.tile(root, (3, 1)), atol=1e-6)
    assert np.max(free.residuals[-20:]) < 1e-6
    evaluated = int(np.isfinite(stopped.residuals).all(1).sum())
    assert np.isnan(stopped.residuals[evaluated:]).all()
    assert np.max(stopped.residuals[evaluated - 1]) <= 1e-5 < np.max(stopped.residuals[evaluated - 2])
    np.testing.assert_allclose(stopped.value, np.tile(root, (3, 1)), atol=1e-5)
    vanishing = jax.jit(lambda z: anderson(lambda z: 0.5 * z, z, 200).value)(1e-15 * starts)
    assert np.all(np.abs(vanishing) < 1e-15)


def test_anderson_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="depth must be at least 0"):
        anderson(jnp.tanh, jnp.ones(2), 3, depth=-1)
    with pytest.raises(ValueError, match="damping"):
        anderson(jnp.tanh, jnp.ones(2), 3, damping=1.0)


@pytest.mark.parametrize(("damping", "depth"), [(0.0, 0), (0.4, 0), (0.2, 3)])
def test_equilibrium_has_the_gradient_of_the_implicit_function(float64, damping, depth):
    rng = np.random.default_rng(2)
    (weight, drive), cotangent = contraction(rng), rng.normal(size=DIM)
    function = lambda args, z: layer(z, args)
    value = lambda args, start: cotangent @ equilibrium(function, args, start, 200, damping, depth)
    (by_weight, by_drive), by_start = jax.jit(jax.grad(value, (0, 1)))((weight, drive), jnp.zeros(DIM))
    z = fixed_point((weight, drive))
    slope = np.diag(1 - z**2)
    solved = np.linalg.solve((np.eye(DIM) - slope @ weight).T, cotangent)
    np.testing.assert_allclose(by_drive, slope @ solved, rtol=1e-9)
    np.testing.assert_allclose(by_weight, np.outer(slope @ solved, z), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(by_start, 0)
    found = equilibrium(function, (weight, drive), jnp.ones(DIM), 200, damping, depth)
    np.testing.assert_allclose(found, z, atol=1e-12)


def test_equilibrium_works_on_batches_under_vmap(float64):
    rng = np.random.default_rng(3)
    args = [contraction(rng) for _ in range(3)]
    stacked = tuple(np.stack(part) for part in zip(*args, strict=True))
    function = lambda args, z: layer(z, args)
    value = lambda args: jnp.sum(equilibrium(function, args, jnp.zeros(DIM), 100) ** 2)
    together = jax.jit(jax.vmap(jax.value_and_grad(value)))(stacked)
    for i, one in enumerate(args):
        np.testing.assert_allclose(together[0][i], np.sum(fixed_point(one) ** 2), rtol=1e-10)
        nudge = 1e-6 * rng.normal(size=DIM)
        ahead, behind = (np.sum(fixed_point((one[0], one[1] + s * nudge)) ** 2) for s in (1, -1))
        np.testing.assert_allclose(together[1][1][i] @ nudge, (ahead - behind) / 2, rtol=1e-6)
