import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reprise.networks.attention import (
    AttentionWeights,
    LinearAttention,
    Products,
    gradient_step_weights,
    gram_attention,
    linear_attention,
    linear_stack,
    products,
)
from reprise.networks.functional import ensemble
from reprise.tasks.linear_regression import LinearTasks, gradient_descent, gradient_descent_pp, gram, tokens


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


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
    slow, statistic, fast = e, jnp.einsum("ni,nj->ij", e[:7], e[:7]) / 7, e
    stacked = jax.vmap(lambda token: linear_stack([*map(products, layers)], statistic, token))(e)
    for weights in layers:
        slow = linear_attention(weights, slow, context=7)
        after, fast = jax.vmap(gram_attention, (None, None, 0))(products(weights), statistic, fast)
        statistic = after[0]
    np.testing.assert_allclose(fast, slow, rtol=1e-9)
    np.testing.assert_allclose(stacked, slow, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 3])
def test_constructed_layers_take_gradient_steps(float64, steps):
    prompts = LinearTasks(dim=3, length=6).sample(jax.random.key(0), 20)
    context, query = tokens(prompts)
    e = jnp.concatenate([context, query[:, None]], 1)
    rates = jnp.array([0.9, 0.4, 1.3])[:steps]
    for rate in rates:
        e = linear_attention(gradient_step_weights(3, rate), e, context=6)
    np.testing.assert_allclose(-e[:, -1, -1], gradient_descent(prompts, rates), rtol=1e-11)


def test_constructed_layer_starts_from_given_weights(float64):
    prompts = LinearTasks(dim=3, length=6).sample(jax.random.key(0), 20)
    start, rate = jnp.array([0.5, -1.0, 2.0]), 0.7
    context, query = tokens(prompts)
    e = jnp.concatenate([context, query.at[:, -1].set(-prompts.query @ start)[:, None]], 1)
    got = -linear_attention(gradient_step_weights(3, rate, start), e, context=6)[:, -1, -1]
    step = -rate * jnp.einsum("tnd,tn->td", prompts.x, prompts.x @ start - prompts.y) / 6
    np.testing.assert_allclose(got, (prompts.query * (start + step)).sum(-1), rtol=1e-11)


def test_gdpp_is_one_head(float64):
    prompts = LinearTasks(dim=3, length=6).sample(jax.random.key(0), 20)
    rate, curvature = 0.9, 0.3
    layer = Products(-jnp.diag(jnp.array([curvature] * 3 + [rate]))[None], jnp.diag(jnp.array([1.0, 1, 1, 0]))[None])
    token = jax.vmap(lambda g, e: linear_stack([layer] * 2, g, e))(gram(prompts), tokens(prompts)[1])
    expected = gradient_descent_pp(prompts, jnp.full(2, rate), jnp.full(2, curvature))
    np.testing.assert_allclose(-token[:, -1], expected, rtol=1e-11)


def test_module_is_the_function_of_its_parameters():
    apply, params = ensemble(
        lambda rngs: LinearAttention(4, heads=2, std=0.5, rngs=rngs), jax.random.split(jax.random.key(0), 3)
    )
    statistic, token = jnp.eye(4), jnp.ones(4)
    after, moved = jax.vmap(apply, (0, None, None))(params, statistic, token)
    assert after.shape == (3, 4, 4)
    output, score = params["output"][...][1], params["score"][...][1]
    expected = token + sum(output[h] @ score[h] @ token for h in range(2))
    np.testing.assert_allclose(moved[1], expected, rtol=1e-5)
