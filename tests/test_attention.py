import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reprise.networks.attention import (
    AttentionWeights,
    LinearAttention,
    curvature_step_weights,
    gradient_step_weights,
    gram_attention,
    linear_attention,
    linear_stack,
    newton_weights,
    products,
)
from reprise.networks.functional import ensemble
from reprise.tasks.linear_regression import Prompt, gradient_descent, gradient_descent_pp, gram, tokens

layer = jax.jit(linear_attention, static_argnames="context")


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def prompts(float64):
    rng = np.random.default_rng(0)
    shapes = (20, 6, 3), (20, 6), (20, 3), (20,)
    return Prompt(*(jnp.asarray(rng.normal(size=shape)) for shape in shapes))


def random_weights(rng, heads=2, inner=3, size=4):
    shapes = [(heads, inner, size)] * 3 + [(heads, size, inner)]
    return AttentionWeights(*(jnp.asarray(rng.normal(size=shape)) for shape in shapes))


def test_layer_is_the_sum_over_tokens_and_heads(float64):
    rng = np.random.default_rng(0)
    weights, e = random_weights(rng), rng.normal(size=(6, 4))
    expected = e.copy()
    for t in range(6):
        for query, key, value, projection in zip(*map(np.asarray, weights), strict=True):
            for i in range(5):
                expected[t] += projection @ (value @ e[i]) * ((key @ e[i]) @ (query @ e[t])) / 5
    np.testing.assert_allclose(linear_attention(weights, jnp.asarray(e), context=5), expected, rtol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gram_forms_are_the_layer_token_by_token(float64, depth):
    rng = np.random.default_rng(1)
    layers, e = [random_weights(rng) for _ in range(depth)], 0.3 * jnp.asarray(rng.normal(size=(8, 4)))
    slow = fast = e
    statistic = np.einsum("ni,nj->ij", e[:7], e[:7]) / 7
    in_stack = jax.jit(jax.vmap(linear_stack, (None, None, 0)))
    stacked = in_stack([products(weights) for weights in layers], statistic, e)
    by_layer = jax.jit(jax.vmap(gram_attention, (None, None, 0)))
    for weights in layers:
        slow = layer(weights, slow, context=7)
        after, fast = by_layer(products(weights), statistic, fast)
        statistic = after[0]
    np.testing.assert_allclose(fast, slow, rtol=1e-9)
    np.testing.assert_allclose(stacked, slow, rtol=1e-9)


def test_constructed_layers_take_gradient_steps(prompts):
    rates = np.array([0.9, 0.4, 1.3])
    context, query = tokens(prompts)
    e = jnp.concatenate([context, query[:, None]], 1)
    for k, rate in enumerate(rates, 1):
        e = layer(gradient_step_weights(3, rate), e, context=6)
        expected = jax.jit(gradient_descent)(prompts, rates[:k])
        np.testing.assert_allclose(-e[:, -1, -1], expected, rtol=1e-11)


def test_constructed_layer_starts_from_given_weights(prompts):
    start, rate = np.array([0.5, -1.0, 2.0]), 0.7
    context, query = map(np.array, tokens(prompts))
    query[:, -1] = -query[:, :-1] @ start
    e = np.concatenate([context, query[:, None]], 1)
    got = -layer(gradient_step_weights(3, rate, start), e, context=6)[:, -1, -1]
    x, y = context[..., :-1], context[..., -1]
    step = -rate * np.einsum("tnd,tn->td", x, x @ start - y) / 6
    np.testing.assert_allclose(got, (query[:, :-1] * (start + step)).sum(-1), rtol=1e-11)


def test_gdpp_is_one_head(prompts):
    rates, curvatures = np.array([0.9, 0.4, 1.3]), np.array([0.1, 0.3, 0.2])
    layers = [products(curvature_step_weights(3, *pair)) for pair in zip(rates, curvatures, strict=True)]
    token = jax.jit(jax.vmap(lambda g, e: linear_stack(layers, g, e)))(gram(prompts), tokens(prompts)[1])
    expected = jax.jit(gradient_descent_pp)(prompts, rates, curvatures)
    np.testing.assert_allclose(-token[:, -1], expected, rtol=1e-10)


def test_module_is_the_function_of_its_parameters():
    make = lambda keys: ensemble(lambda rngs: LinearAttention(4, heads=2, std=0.5, rngs=rngs), keys)
    statistic, token = np.diag([1.0, 2, 3, 4]), np.ones(4)

    @jax.jit
    def run(keys):
        apply, params = make(keys)
        return params, jax.vmap(apply, (0, None, None))(params, statistic, token)

    params, (after, moved) = run(jax.random.split(jax.random.key(0), 3))
    assert after.shape == (3, 4, 4)
    output, score = np.asarray(params["output"][...])[1], np.asarray(params["score"][...])[1]
    expected = token + sum(output[h] @ statistic @ score[h] @ token for h in range(2))
    np.testing.assert_allclose(moved[1], expected, rtol=1e-4)


def test_constructed_layers_invert_by_newtons_method(prompts):
    """Against the recurrence for the inverse in NumPy."""
    x, y, query = (np.asarray(part) for part in prompts[:3])
    second, moment = np.einsum("tni,tnj->tij", x, x) / 6, np.einsum("tni,tn->ti", x, y) / 6
    scale = 1 / np.linalg.eigvalsh(second).max() ** 2
    inverse = scale * second
    e = np.concatenate([np.concatenate([x, query[:, None]], 1), np.zeros((20, 7, 3)), np.zeros((20, 7, 1))], -1)
    e[:, :6, -1] = y
    stack = jax.jit(lambda layers, e: functools.reduce(lambda e, w: linear_attention(w, e, context=6), layers, e))
    for iterations in (0, 1, 2):
        expected = np.einsum("ti,tij,tj->t", query, inverse, moment)
        np.testing.assert_allclose(stack(newton_weights(3, scale, iterations), e)[:, -1, -1], expected, rtol=1e-10)
        inverse = 2 * inverse - inverse @ second @ inverse
