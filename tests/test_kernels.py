from functools import cache, partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import integrate, special

from reprise.kernels.activations import ERF, IDENTITY, RELU, Nonlinearity, leaky_relu, polynomial, smooth
from reprise.kernels.empirical import jacobian_ntk, layerwise_ntk
from reprise.kernels.gradient_flow import (
    bayesian_posterior,
    converged,
    descent,
    flow,
    predict,
    smoother,
    stable_step,
    trained_ensemble,
)
from reprise.kernels.infinite import Kernels, activate, affine, inputs, mlp_kernels
from reprise.networks.functional import from_vector, functional
from reprise.networks.mlp import MLP

# Each nonlinearity written out again, with its derivative, for the brute-force integrals.
PLAIN = {
    "relu": (RELU, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky": (leaky_relu(0.3), lambda x: np.where(x > 0, x, 0.3 * x), lambda x: np.where(x > 0, 1, 0.3)),
    "abs": (leaky_relu(-1.0), np.abs, np.sign),
    "erf": (ERF, special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "identity": (IDENTITY, lambda x: x, np.ones_like),
    "cubic": (
        polynomial([0.5, -1.0, 0.3, 0.2]),
        lambda x: 0.5 - x + 0.3 * x**2 + 0.2 * x**3,
        lambda x: -1 + 0.6 * x + 0.6 * x**2,
    ),
    "tanh": (smooth(jnp.tanh, nodes=48), np.tanh, lambda x: 1 / np.cosh(x) ** 2),
}


def plane_integral(function, k, a, b):
    """E[f(u) f(v)] in polar coordinates, cut at the angles where u or v changes sign."""
    c = k / np.sqrt(a * b)
    s = np.sqrt(1 - c**2)
    cuts = np.sort(np.mod([np.pi / 2, 3 * np.pi / 2, np.arctan2(-c, s), np.arctan2(c, -s)], 2 * np.pi))

    def ring(angle):
        u, v = np.sqrt(a) * np.cos(angle), np.sqrt(b) * (c * np.cos(angle) + s * np.sin(angle))
        radial = lambda r: function(r * u) * function(r * v) * r * np.exp(-(r**2) / 2)
        return integrate.fixed_quad(radial, 0, 9, n=60)[0]

    pieces = zip([0, *cuts], [*cuts, 2 * np.pi], strict=True)
    return sum(integrate.fixed_quad(np.vectorize(ring), lo, hi, n=24)[0] for lo, hi in pieces) / (2 * np.pi)


@pytest.mark.parametrize("name", PLAIN)
def test_dual_matches_the_integral_over_the_plane(name):
    nonlinearity, function, derivative = PLAIN[name]
    with jax.enable_x64(True):
        cases = [(0.7, 1.3, 0.9), (-0.5, 0.4, 1.1), (0.0, 1.0, 2.0)]
        value, slope = jax.jit(nonlinearity.dual)(*jnp.array(cases).T)
        z = jnp.linspace(-2, 2, 7)
        np.testing.assert_allclose(nonlinearity.function(z), function(np.asarray(z)), atol=1e-12)
    for i, (k, a, b) in enumerate(cases):
        assert value[i] == pytest.approx(plane_integral(function, k, a, b), rel=1e-5, abs=1e-6)
        assert slope[i] == pytest.approx(plane_integral(derivative, k, a, b), rel=1e-4, abs=1e-6)


def test_relu_dual_at_its_ends_and_in_single_precision():
    value, slope = RELU.dual(jnp.array([2.0, -2.0, 0.0]), jnp.array([2.0, 2.0, 0.0]), jnp.array([2.0, 2.0, 1.0]))
    np.testing.assert_allclose(value, [1.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(slope[:2], [0.5, 0.0], atol=1e-6)


def test_polynomial_refuses_to_be_empty():
    with pytest.raises(ValueError, match="coefficients"):
        polynomial([])


@cache
def network(parametrization="ntk"):
    model = MLP(
        [3, 6, 5, 2], activation=jnp.tanh, parametrization=parametrization,
        weight_std=1.2, bias_std=0.4, rngs=nnx.Rngs(3),
    )  # fmt: skip
    return model, *functional(model)


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_layerwise_kernel_is_the_jacobian_kernel(batches, parametrization):
    model, apply, params = network(parametrization)

    @jax.jit
    def both(params, one, two):
        cases = [(None, "mean"), (two, "all"), (two, "mean")]
        kernel = lambda x, outputs: functional(model, partial(layerwise_ntk, outputs=outputs))[0](params, one, x)
        return [(kernel(x, o), jacobian_ntk(apply, params, one, x, outputs=o)) for x, o in cases]

    shapes = []
    for found, expected in both(params, *batches):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)
        shapes.append(found.shape)
    assert shapes == [(4, 4), (4, 2, 2, 2), (4, 2)]
    with pytest.raises(ValueError, match="outputs"):
        layerwise_ntk(model, batches[0], outputs="sum")


def test_rates_weigh_every_layer(batches):
    model, apply, params = network()
    rates = [(1.0, 2.0), (0.5, 3.0), (4.0, 0.0)]
    tree = jax.tree.unflatten(jax.tree.structure(params), [r for weight, bias in rates for r in (bias, weight)])
    expected = jacobian_ntk(apply, params, batches[0], rates=tree)
    np.testing.assert_allclose(layerwise_ntk(model, batches[0], rates=rates), expected, rtol=2e-4)


def test_standard_kernel_is_the_ntk_one_with_the_rates_of_its_scales(batches):
    """W_standard = scale * W, so gradient descent on W_standard moves W at 1 / scale^2."""
    ntk, _, params = network("ntk")
    standard, apply, same = network("standard")
    rates = [(1 / w**2, 1 / b**2) for w, b in (layer.scales for layer in ntk.layers)]
    np.testing.assert_allclose(ntk(batches[0]), standard(batches[0]), rtol=1e-4, atol=1e-6)
    expected = jacobian_ntk(apply, same, batches[0])
    np.testing.assert_allclose(layerwise_ntk(ntk, batches[0], rates=rates), expected, rtol=2e-4)


@pytest.mark.parametrize("nonlinearity", [RELU, ERF, polynomial([0.1, 1.0, 0.3])], ids=lambda n: n.name)
def test_wide_networks_converge_to_the_infinite_kernels(batches, nonlinearity):
    width, copies = 512, 96
    model = nnx.eval_shape(
        lambda: MLP([3, width, 1], activation=nonlinearity.function, parametrization="ntk",
                    weight_std=1.2, bias_std=0.4, rngs=nnx.Rngs(0))
    )  # fmt: skip
    apply, shapes = functional(model)
    kernel, _ = functional(model, layerwise_ntk)
    size = 3 * width + width + width + 1

    @jax.jit
    def sample(key):
        params = jax.vmap(lambda v: from_vector(shapes, v))(jax.random.normal(key, (copies, size)))
        ntk = jax.vmap(kernel, (0, None, None))(params, *batches)
        last = jnp.einsum("snh,smh->nm", *(jax.vmap(features, (0, None))(params, x) for x in batches))
        return ntk, last / (copies * width)

    def features(params, x):
        layer = params["layers"][0]
        return nonlinearity.function(1.2 / 3**0.5 * x @ layer["weight"][...] + 0.4 * layer["bias"][...])

    ntk, second_moment = sample(jax.random.key(1))
    limit = mlp_kernels(*batches, hidden=1, nonlinearity=nonlinearity, weight_std=1.2, bias_std=0.4)
    error = np.std(ntk, axis=0) / copies**0.5
    np.testing.assert_array_less(np.abs(np.mean(ntk, axis=0) - limit.ntk), 5 * error)
    np.testing.assert_allclose(1.2**2 * second_moment + 0.4**2, limit.nngp, rtol=0.06, atol=0.06)


def test_deep_linear_kernels_in_closed_form(batches):
    """Without biases every layer adds one more copy of the input kernel."""
    kernels = mlp_kernels(*batches, hidden=3, nonlinearity=IDENTITY)
    plain = batches[0] @ batches[1].T / 3
    np.testing.assert_allclose(kernels.nngp, plain, rtol=1e-5)
    np.testing.assert_allclose(kernels.ntk, 4 * plain, rtol=1e-5)


def test_variances_are_the_diagonals(batches):
    kernels = activate(affine(inputs(*batches), 1.1, 0.2), RELU)
    for x, variance in zip(batches, (kernels.variance1, kernels.variance2), strict=True):
        alone = activate(affine(inputs(x), 1.1, 0.2), RELU)
        np.testing.assert_allclose(np.diag(alone.nngp), variance, rtol=1e-5)


def test_kernels_refuse_wrong_arguments(batches):
    with pytest.raises(ValueError, match="x1 and x2"):
        inputs(batches[0], batches[1][:, :2])
    with pytest.raises(ValueError, match="hidden"):
        mlp_kernels(batches[0], hidden=-1)
    assert isinstance(RELU, Nonlinearity)


@pytest.fixture(scope="module")
def problem():
    """A well-conditioned kernel, targets, and two test points, in float64 NumPy."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(8, 9))
    kernel = features @ features.T / 9
    return kernel[:6, :6], kernel[6:, :6], rng.normal(size=6)


def test_flow_solves_the_differential_equation(problem):
    gram, cross, y = problem
    with jax.enable_x64(True):
        start = (jnp.full(6, 0.3), jnp.array([0.1, -0.2]))
        times = jnp.array([0.0, 0.5, 7.0])
        found = jax.jit(lambda: predict(jnp.array(gram), jnp.array(cross), jnp.array(y), flow(times), start))()
        both = jnp.array(np.concatenate([gram, cross]))
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, f, _: -both @ (f[:6] - y) / 6), diffrax.Tsit5(), 0.0, 7.0, 0.01,
            jnp.concatenate(start), saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-10),
        )  # fmt: skip
        np.testing.assert_allclose(found, solution.ys[:, 6:], rtol=1e-6)


@pytest.mark.parametrize("fraction", [0.3, 1.9])
def test_descent_is_the_loop(problem, fraction):
    gram, cross, y = problem
    step = fraction * 6 / np.linalg.eigvalsh(gram)[-1]
    f, at_points, expected = np.zeros(6), np.zeros(2), {}
    for k in range(1, 41):
        slope = (f - y) / 6
        f, at_points = f - step * gram @ slope, at_points - step * cross @ slope
        expected[k] = at_points
    with jax.enable_x64(True):
        steps = jnp.array([1, 2, 7, 40])
        found = jax.jit(lambda: predict(jnp.array(gram), jnp.array(cross), jnp.array(y), descent(step, steps)))()
        np.testing.assert_allclose(found, [expected[int(k)] for k in steps], rtol=1e-9)
        assert float(stable_step(jnp.array(gram), fraction)) == pytest.approx(step)


def test_filters_meet_in_their_limits(problem):
    gram, cross, _ = (jnp.asarray(part) for part in problem)
    regression = np.asarray(problem[1]) @ np.linalg.inv(problem[0])
    with jax.enable_x64(True):
        maps = jax.jit(lambda g, c: [smoother(g, c, rule) for rule in (converged(), flow(1e6), descent(0.5, 10**6))])
        for found in maps(*(jnp.array(part) for part in problem[:2])):
            np.testing.assert_allclose(found, regression, rtol=1e-6)
    zero = jnp.array([0.0, 1e-12, 1.0])
    np.testing.assert_allclose(flow(3.0)(zero), [1.0, 1.0, 1 - np.exp(-1.0)], rtol=1e-5)
    np.testing.assert_allclose(descent(0.3, 4)(zero), [0.4, 0.4, 1 - 0.9**4], rtol=1e-5)
    with pytest.raises(ValueError, match="gram"):
        smoother(gram[:5], cross, converged())


def test_trained_ensemble_is_the_law_of_trained_samples(problem):
    """Draw functions from the prior, train each by the linear map, and compare moments; no noise at the data."""
    rng = np.random.default_rng(2)
    features = rng.normal(size=(8, 12))
    nngp, (gram, cross, y) = features @ features.T / 12, problem
    full = np.block([[gram, cross.T], [cross, np.eye(2)]])
    parts = lambda rows, columns: Kernels(jnp.array(nngp[rows, columns]), jnp.array(full[rows, columns]), None, None)
    train, test = slice(0, 6), slice(6, 8)
    with jax.enable_x64(True):
        arguments = parts(train, train), parts(test, train), parts(test, test), jnp.array(y)
        law = trained_ensemble(*arguments, flow(2.0))
        samples = jnp.array(rng.multivariate_normal(np.zeros(8), nngp, size=40000))
        trained = jax.vmap(
            lambda f: predict(jnp.array(gram), jnp.array(cross), jnp.array(y), flow(2.0), (f[:6], f[6:]))
        )
        values = np.asarray(jax.jit(trained)(samples))
        np.testing.assert_allclose(values.mean(0), law.mean, atol=0.03)
        np.testing.assert_allclose(np.cov(values.T), law.covariance, atol=0.04)
        np.testing.assert_allclose(law.std**2, np.diag(law.covariance))
        at_data = trained_ensemble(
            parts(train, train), parts(train, train), parts(train, train), jnp.array(y), converged()
        )
        np.testing.assert_allclose(at_data.mean, y, atol=1e-8)
        np.testing.assert_allclose(at_data.covariance, 0, atol=1e-8)


def test_bayesian_posterior_is_the_conditional_gaussian(problem):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(8, 12))
    nngp, y = features @ features.T / 12, problem[2]
    parts = lambda rows, columns: Kernels(jnp.array(nngp[rows, columns]), None, None, None)
    train, test = slice(0, 6), slice(6, 8)
    with jax.enable_x64(True):
        posterior = bayesian_posterior(
            parts(train, train), parts(test, train), parts(test, test), jnp.array(y), noise=0.1
        )
        # The precision matrix of the joint Gaussian gives the conditional one without solving for it.
        joint = np.linalg.inv(nngp + 0.1 * np.diag([1.0] * 6 + [0.0] * 2))
        covariance = np.linalg.inv(joint[test, test])
        np.testing.assert_allclose(posterior.covariance, covariance, rtol=1e-8)
        np.testing.assert_allclose(posterior.mean, -covariance @ joint[test, train] @ y, rtol=1e-8)
