import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reprise.dynamics.integral_equations import (
    AttentionOperator,
    SeparableOperator,
    kernel_integral,
    picard,
    time_features,
)
from reprise.networks.functional import functional
from reprise.numerics.quadrature import chebyshev_integration, gauss_legendre


def test_picard_on_a_volterra_equation_gives_the_exponential_series():
    points, matrix = chebyshev_integration(24, 0.0, 2.0)
    with jax.enable_x64(True):
        iterates = jax.jit(lambda f: picard(lambda y: matrix @ y, f, 6))(np.ones(24))
    series = np.cumsum([points**j / math.factorial(j) for j in range(7)], axis=0)
    np.testing.assert_allclose(iterates, series, rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_picard_on_a_separable_fredholm_equation_finds_the_solution(smoothing):
    points, weights = gauss_legendre(12)
    kernel = 0.5 * np.exp(points)[:, None] * np.sin(points)
    free = np.stack([np.cos(3 * points), points**2])
    # y = f + 0.5 e^t c with c = int sin(s) y(s) ds
    inner = weights * np.sin(points)
    c = free @ inner / (1 - 0.5 * inner @ np.exp(points))
    exact = free + 0.5 * c[:, None] * np.exp(points)
    with jax.enable_x64(True):
        iterates = jax.jit(lambda f: picard(lambda y: kernel_integral(kernel, weights, y), f, 80, smoothing))(free)
    assert iterates.shape == (81, 2, 12)
    np.testing.assert_array_equal(iterates[0], free)
    np.testing.assert_allclose(iterates[-1], exact, rtol=1e-9)


def test_gradients_go_through_the_iterations():
    points, weights = gauss_legendre(6)
    kernel = np.outer(points, points)
    with jax.enable_x64(True):
        solve = lambda strength: picard(lambda y: strength * kernel_integral(kernel, weights, y), points, 60)[-1].sum()
        slope = jax.jit(jax.grad(solve))(1.2)
    # y = t + strength * t * int s y(s) ds = t / (1 - strength / 3)
    assert slope == pytest.approx(points.sum() / 3 / (1 - 0.4) ** 2, rel=1e-9)


def test_separable_operator_integrates_its_integrand():
    apply, params = functional(SeparableOperator(3, hidden=4, rngs=nnx.Rngs(0)))
    pointwise, _ = functional(SeparableOperator(3, hidden=4, rngs=nnx.Rngs(0)), lambda m, *a: m.integrand(*a))
    points, weights = (np.asarray(a, np.float32) for a in gauss_legendre(5))
    y = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    t, s = np.meshgrid(points, points, indexing="ij")
    by_hand = [[sum(weights * row) for row in np.asarray(pointwise(params, np.tile(one, (5, 1)), t, s))] for one in y]
    np.testing.assert_allclose(apply(params, y, points, weights), by_hand, atol=1e-6)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 2 * (6 * 4 + 5 * 3) + 2 * 4 + 5 * 3


def test_attention_operator_is_a_ratio_of_integrals():
    apply, params = functional(AttentionOperator(2, 3, hidden=4, rngs=nnx.Rngs(0)))
    net = lambda name, x: np.tanh(x @ p[name][0] + p[name][1]) @ p[name][2] + p[name][3]
    p = {
        name: [
            np.asarray(leaf, float) for layer in ("0", "1") for leaf in (layers[layer]["weight"], layers[layer]["bias"])
        ]
        for name in ("query", "key", "value")
        for layers in [{str(i): {k: v[...] for k, v in params[name]["layers"][i].items()} for i in (0, 1)}]
    }
    points, weights = gauss_legendre(6)
    y = np.random.default_rng(1).normal(size=6)
    features = np.asarray(time_features(jnp.asarray(points), 2))
    tokens = np.concatenate([y[:, None], features], 1)
    queries, keys, values = net("query", features), net("key", tokens), net("value", tokens)
    by_hand = np.zeros(6)
    for h in range(2):
        part = slice(3 * h, 3 * h + 3)
        kernel = np.exp(queries[:, part] @ keys[:, part].T / 3**0.5)
        by_hand += kernel @ (weights * values[:, h]) / (kernel @ weights)
    got = jax.jit(apply)(params, *(np.asarray(a, np.float32) for a in (y, points, weights)))
    np.testing.assert_allclose(got, by_hand, atol=1e-5)


def test_time_features():
    np.testing.assert_allclose(time_features(jnp.array(0.25), 2), [-0.5, 1, 0, 0, -1], atol=1e-6)
