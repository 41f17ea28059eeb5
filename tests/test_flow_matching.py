import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from reprise.diffusion.interpolants import STRAIGHT, sub_variance_preserving, variance_preserving
from reprise.diffusion.matching import append_time, matching_loss, straightness
from reprise.diffusion.mixtures import MixtureCoupling
from reprise.diffusion.samplers import EULER, HEUN, RK4, endpoint, trajectory
from reprise.statistics.fits import loglog_slope

PATHS = {"straight": STRAIGHT, "vp": variance_preserving(), "sub-vp": sub_variance_preserving()}
STARTS, ENDS = np.array([[0.0, 2], [-1, -1]]), np.array([[2.0, 0], [0, 1], [1, -2]])
WEIGHTS = np.array([[0.2, 0.1, 0.0], [0.1, 0.4, 0.2]])


def coupling(path="straight"):
    return MixtureCoupling(STARTS, ENDS, WEIGHTS, 0.5, 0.7, PATHS[path])


@pytest.mark.parametrize("path", PATHS)
def test_speed_is_the_derivative_of_position(path):
    x0, x1 = np.random.default_rng(0).normal(size=(2, 5, 2))
    t, h = np.linspace(0.1, 0.9, 5), 1e-6
    with jax.enable_x64(True):
        before, middle, after = (np.asarray(PATHS[path](x0, x1, t + step)) for step in (-h, 0, h))
    np.testing.assert_allclose(middle[1], (after[0] - before[0]) / (2 * h), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_paths_end_at_the_data(path):
    alpha, beta, *_ = PATHS[path].coefficients(np.array([0.0, 1.0]))
    np.testing.assert_allclose(alpha, [0, 1], atol=0.01)
    np.testing.assert_allclose(beta, [1, 0], atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_mixture_density_against_scipy(path):
    mixture, x, t = coupling(path), np.random.default_rng(1).normal(size=(6, 2)), 0.4
    with jax.enable_x64(True):
        alpha, beta = map(float, PATHS[path].coefficients(t)[:2])
        found = np.asarray(mixture.log_density(x, t))
    variance = (alpha * 0.7) ** 2 + (beta * 0.5) ** 2
    density = sum(
        WEIGHTS[i, j] * multivariate_normal(alpha * ENDS[j] + beta * STARTS[i], variance).pdf(x)
        for i in range(2)
        for j in range(3)
    )
    np.testing.assert_allclose(found, np.log(density), rtol=1e-10)


@pytest.mark.parametrize("path", PATHS)
def test_mixture_velocity_solves_the_continuity_equation(path):
    """d log p / dt + v . grad log p + div v = 0, with derivatives of the density by automatic differentiation."""
    mixture = coupling(path)

    @jax.jit
    def residual(x, t):
        rate = jax.jvp(lambda t: mixture.log_density(x, t), (t,), (jnp.ones(()),))[1]
        score = jax.grad(mixture.log_density)(x, t)
        velocity = mixture.velocity(x, t)
        return rate + velocity @ score + mixture.divergence(x, t), velocity, mixture.divergence(x, t)

    with jax.enable_x64(True):
        for x in np.random.default_rng(2).normal(size=(4, 2)):
            t = jnp.asarray(0.3)
            gap, _, divergence = residual(x, t)
            assert abs(gap) < 1e-10
            jacobian = jax.jacfwd(mixture.velocity)(jnp.asarray(x), t)
            np.testing.assert_allclose(divergence, jnp.trace(jacobian), rtol=1e-10)


def test_mixture_velocity_is_the_best_predictor_of_the_speed():
    """Its loss is below that of perturbed fields, and its residual is uncorrelated with functions of position."""
    mixture = coupling()
    x0, x1 = jax.jit(lambda key: mixture.sample(key, 200_000))(jax.random.key(0))
    x, speed = STRAIGHT(x0, x1, 0.6)
    residual = np.asarray(speed - mixture.velocity(x, 0.6))
    for probe in (np.ones_like(x), np.asarray(x), np.sin(2 * np.asarray(x)), np.asarray(x)[:, ::-1]):
        product = (residual * probe).sum(1)
        assert abs(product.mean()) < 4 * product.std() / np.sqrt(len(product))


def test_mixture_samples_have_the_moments_of_their_components():
    x0, x1 = map(np.asarray, jax.jit(lambda key: coupling().sample(key, 100_000))(jax.random.key(1)))
    np.testing.assert_allclose(x0.mean(0), WEIGHTS.sum(1) @ STARTS, atol=0.02)
    np.testing.assert_allclose(x1.mean(0), WEIGHTS.sum(0) @ ENDS, atol=0.02)
    means = np.einsum("ij,ik,jl->kl", WEIGHTS, STARTS, ENDS)
    np.testing.assert_allclose(x0.T @ x1 / len(x0), means, atol=0.04)


def test_stratified_samples_have_exact_counts_in_random_order():
    tight = coupling()._replace(start_std=1e-3, end_std=1e-3)
    x0, x1 = map(np.asarray, jax.jit(lambda key: tight.sample(key, 1000, stratified=True))(jax.random.key(4)))
    i = np.linalg.norm(x0[:, None] - STARTS, axis=-1).argmin(1)
    j = np.linalg.norm(x1[:, None] - ENDS, axis=-1).argmin(1)
    counts = np.zeros((2, 3))
    np.add.at(counts, (i, j), 1)
    assert np.abs(counts - 1000 * WEIGHTS).max() <= 1
    assert abs(np.corrcoef(i[1:], i[:-1])[0, 1]) < 0.2


@pytest.mark.parametrize(("method", "order"), [(EULER, 1), (HEUN, 2), (RK4, 4)])
def test_orders_of_convergence(method, order):
    """On z' = cos(t) z, whose solution is z(0) exp(sin t)."""
    steps = np.array([4, 8, 16, 32])
    with jax.enable_x64(True):
        solve = jax.jit(lambda n: endpoint(lambda z, t: jnp.cos(t) * z, jnp.ones(1), n, method))
        errors = [abs(float(solve(n)[0]) - np.exp(np.sin(1))) for n in steps]
    assert loglog_slope(steps, errors) == pytest.approx(-order, abs=0.25)


def test_trajectory_agrees_with_diffrax_and_with_endpoint():
    velocity = coupling().velocity
    z0 = jax.random.normal(jax.random.key(2), (7, 2))
    flow = jax.jit(lambda z: trajectory(velocity, z, 40, HEUN))(z0)
    reference = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, z, _: velocity(z, t)), diffrax.Heun(), 0.0, 1.0, 1 / 40, z0,
        saveat=diffrax.SaveAt(t0=True, steps=True), stepsize_controller=diffrax.ConstantStepSize(), max_steps=41,
    ).ys[:41]  # fmt: skip
    np.testing.assert_allclose(flow.positions, reference, atol=1e-5)
    np.testing.assert_allclose(flow.velocities[17], velocity(flow.positions[17], flow.times[17]), rtol=1e-5)
    np.testing.assert_allclose(flow.positions[-1], endpoint(velocity, z0, 40, HEUN), atol=1e-5)


def test_trajectory_carries_pytrees():
    """The volume along dz/dt = a z grows as exp(a d t)."""
    field = lambda state, t: (0.3 * state[0], jnp.full(len(state[0]), 0.6))
    _, log_volume = trajectory(field, (jnp.ones((3, 2)), jnp.zeros(3)), 10).positions
    np.testing.assert_allclose(log_volume[-1], 0.6, rtol=1e-5)


@pytest.mark.parametrize("s", [0.5, 2.0])
def test_gaussians_have_their_closed_form_map_straightness_and_crossing(s):
    r"""$Z_1=sZ_0$ and $S=\int\dot r^2-(s-1)^2$ with $r=\sqrt{(1-t)^2+s^2t^2}$; $V=1+s^2-\int\dot r^2$."""
    gaussian = MixtureCoupling(np.zeros((1, 1)), np.zeros((1, 1)), np.ones((1, 1)), 1.0, s)
    with jax.enable_x64(True):
        z0 = jnp.linspace(-2, 2, 9)[:, None]
        z0 = z0 / jnp.sqrt(jnp.mean(z0**2))
        flow = trajectory(gaussian.velocity, z0, 400)
        np.testing.assert_allclose(flow.positions[-1], s * z0, atol=1e-8)
        assert float(straightness(flow)) == pytest.approx(s * (4 - np.pi) / 2, rel=1e-4)
        x0, x1 = gaussian.sample(jax.random.key(3), 200_000)
        t = (jnp.arange(200_000) + 0.5) / 200_000
        crossing = matching_loss(lambda x, t: jax.vmap(gaussian.velocity)(x, t), x0, x1, t)
    assert float(crossing) == pytest.approx(s * np.pi / 2, rel=0.02)


def test_straight_flow_has_straightness_zero():
    z0 = jnp.ones((4, 2))
    assert float(straightness(trajectory(lambda z, t: jnp.array([1.0, -2.0]) + 0 * z, z0, 8))) < 1e-10


def test_append_time():
    z = np.ones((3, 2), "float32")
    np.testing.assert_array_equal(append_time(z, 0.5), [[1, 1, 0.5]] * 3)
    np.testing.assert_array_equal(append_time(z, np.arange(3.0))[:, 2], [0, 1, 2])
