import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.kernels.empirical import jacobian_ntk
from reprise.networks.prefix_attention import (
    Summary,
    compressed_attention,
    elu_features,
    prefix_attention,
    softmax_readout,
    softmax_readout_limit,
    summarise,
    taylor_features,
)


@pytest.fixture(scope="module")
def tokens():
    """Queries, keys, values of a context, and keys and values of a prefix."""
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=shape) for shape in ((2, 3, 4), (2, 5, 4), (2, 5, 6), (7, 4), (7, 6)))


def by_loops(q, k, v, prefix_keys, prefix_values):
    out = np.zeros((*q.shape[:2], v.shape[-1]))
    for b in range(q.shape[0]):
        all_keys, all_values = np.vstack([prefix_keys, k[b]]), np.vstack([prefix_values, v[b]])
        for t in range(q.shape[1]):
            weights = np.exp([q[b, t] @ key / math.sqrt(q.shape[-1]) for key in all_keys])
            out[b, t] = weights @ all_values / weights.sum()
    return out


def test_prefix_attention_is_attention_to_all_tokens(tokens):
    q, k, v, pk, pv = tokens
    np.testing.assert_allclose(prefix_attention(q, k, v, pk, pv), by_loops(*tokens), atol=1e-5)
    np.testing.assert_allclose(
        prefix_attention(q, k, v), by_loops(q, k, v, np.zeros((0, 4)), np.zeros((0, 6))), atol=1e-5
    )


@pytest.mark.parametrize("shift", [0.0, 400.0])
def test_compression_with_an_exact_feature_map_is_exact_even_at_large_scores(tokens, shift):
    q, k, v, pk, pv = (jnp.asarray(array) for array in tokens)
    k = k + shift * jnp.array([1.0, 0, 0, 0])  # scores that overflow without the subtraction
    q = jnp.abs(q)
    # One feature a prefix token: exact on these keys, where phi(k_i) is the i-th unit vector.
    on_queries = lambda x: jnp.exp(x @ pk.T / 2)
    summary = Summary(pv, jnp.ones(7))
    found = compressed_attention(q, k, v, summary, on_queries)
    np.testing.assert_allclose(found, prefix_attention(q, k, v, pk, pv), rtol=1e-4, atol=1e-4)


def test_taylor_features_give_the_taylor_polynomial_and_its_remainder():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, 3)) / 2
    u = x @ x.T / math.sqrt(3)
    with jax.enable_x64(True):
        for degree in (0, 1, 4):
            mapped = np.asarray(taylor_features(degree)(jnp.asarray(x)))
            assert mapped.shape == (10, math.comb(3 + degree, degree))
            polynomial = sum(u**j / math.factorial(j) for j in range(degree + 1))
            np.testing.assert_allclose(mapped @ mapped.T, polynomial, atol=1e-12)
            remainder = np.abs(u) ** (degree + 1) / math.factorial(degree + 1) * np.exp(np.maximum(u, 0))
            assert np.all(np.abs(polynomial - np.exp(u)) <= remainder + 1e-12)
        one = np.asarray(taylor_features(2)(jnp.array([[2.0]])))
    np.testing.assert_allclose(one, [[1, 2, 4 / math.sqrt(2)]])
    with pytest.raises(ValueError, match="degree"):
        taylor_features(-1)


def test_summary_of_taylor_features_reproduces_the_prefix(tokens):
    with jax.enable_x64(True):
        q, k, v, pk, pv = (jnp.asarray(array) / 2 for array in tokens)
        features = taylor_features(8)
        summary = summarise(pk, pv, features)
        np.testing.assert_allclose(
            compressed_attention(q, k, v, summary, features), prefix_attention(q, k, v, pk, pv), atol=1e-7
        )


def test_elu_features_by_hand():
    # d = 16: x / 2, then x + 1 above zero and exp(x) below.
    x = jnp.zeros(16).at[0].set(4.0).at[1].set(-2.0)
    np.testing.assert_allclose(elu_features(x)[:3], [3.0, math.exp(-1), 1.0], rtol=1e-6)


def test_softmax_readout_by_loops():
    rng = np.random.default_rng(2)
    w, a, x = rng.normal(size=(6, 3)), np.array([1, 1, 1, -1, -1, -1.0]), rng.normal(size=(2, 3))
    for query, found in zip(
        x, np.asarray(softmax_readout(jnp.asarray(w), jnp.asarray(a), jnp.asarray(x))), strict=True
    ):
        e = np.exp(w @ query)
        expected = math.sqrt(6) * sum(a[r] * e[r] / e.sum() * w[r] for r in range(6))
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


def test_the_limit_of_the_readout_kernel_by_quadrature_and_by_a_long_prefix():
    std, x = 0.7, np.array([[0.6, 0.8], [-1.0, 0.0], [0.0, 0.5]])
    limit = np.asarray(softmax_readout_limit(jnp.asarray(x), std))
    # The gradient of output a in w, at weight e^{w.x} / E e^{w.x}, where signs of both kinds cancel the normaliser's.
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    w = std * np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    share = np.exp(w @ x.T)
    share = share / (weights @ share)
    gradient = share[..., None, None] * (np.eye(2) + np.einsum("ra,nc->rnac", w, x))
    np.testing.assert_allclose(limit, np.einsum("r,rnac,rmbc->nmab", weights, gradient, gradient), rtol=1e-5, atol=1e-6)

    signs, rng = np.tile([1.0, -1.0], 10_000), np.random.default_rng(3)
    prefix = std * rng.normal(size=(20_000, 2))

    def away(signs):
        found = jacobian_ntk(
            lambda w, x: softmax_readout(w, signs, x), jnp.asarray(prefix), jnp.asarray(x), outputs="all"
        )
        return np.linalg.norm(found - limit) / np.linalg.norm(limit)

    assert away(signs) < 0.05
    assert away(np.abs(signs)) > 0.2  # with signs of one kind the normaliser's gradient stays
