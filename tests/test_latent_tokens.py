import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reprise.networks.functional import initialise
from reprise.networks.latent_tokens import branch_mask, latent_tokens, outputs_after_latents
from reprise.networks.transformer import Transformer

SYMBOLS, WIDTH, HEADS, TIME, LATENTS, AHEAD = 3, 8, 2, 12, 2, 3
ENDS = np.array([[4, 7, 9], [5, 6, 8]])


def make(inputs, outputs, depth, length, seed):
    build = lambda rngs: Transformer(inputs, WIDTH, outputs, depth=depth, heads=HEADS, length=length, rngs=rngs)
    _, params = initialise(build, np.random.default_rng(seed))
    return nnx.merge(nnx.graphdef(nnx.eval_shape(lambda: build(nnx.Rngs(0)))), params)


@pytest.fixture(scope="module")
def decoder():
    return make(SYMBOLS, SYMBOLS, 2, TIME, 0)


@pytest.fixture(scope="module", params=[0, TIME])
def coprocessor(request):
    return make(LATENTS, WIDTH, 3, request.param, 1)


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.eye(SYMBOLS)[np.random.default_rng(2).integers(0, SYMBOLS, (2, TIME))], jnp.float32)


@jax.jit
def together(decoder, coprocessor, x, ends):
    _, cache = decoder.body(decoder.embed(x))
    z = latent_tokens(coprocessor, cache, ends, LATENTS)
    return z, outputs_after_latents(decoder, cache, x, ends, z, AHEAD)


def test_one_pass_is_many_plain_ones(decoder, coprocessor, x):
    """Every prefix by itself: a shorter prompt, its cache, then [prompt, latents, tokens ahead] without a cache."""
    z, outputs = together(decoder, coprocessor, x, ENDS)
    for i in range(2):
        for j, end in enumerate(ENDS[i]):
            prompt = decoder.embed(x[i, :end])
            _, cache = decoder.body(prompt)
            cache = jax.tree.map(lambda leaf: jnp.stack([leaf[0], leaf[1], leaf[1]]), cache)
            soft = coprocessor.embed(jnp.eye(LATENTS), int(end) if coprocessor.length else 0)
            own = coprocessor.read(coprocessor.body(soft, cache)[0])
            np.testing.assert_allclose(z[i, j], own, atol=2e-5)
            whole = jnp.concatenate([prompt, own, decoder.embed(x[i, end : end + AHEAD], int(end))])
            plain = decoder.read(decoder.body(whole)[0])[-AHEAD:]
            np.testing.assert_allclose(outputs[i, j], plain, atol=2e-5)


def test_no_latent_tokens_leave_the_decoder_as_it_was(decoder, x):
    outputs = jax.jit(lambda d, x, z: outputs_after_latents(d, d.body(d.embed(x))[1], x, jnp.asarray(ENDS), z, AHEAD))(
        decoder, x, jnp.zeros((2, 3, 0, WIDTH))
    )
    plain = jax.jit(lambda d, x: d(x))(decoder, x)
    for i in range(2):
        for j, end in enumerate(ENDS[i]):
            np.testing.assert_allclose(outputs[i, j], plain[i, end : end + AHEAD], atol=2e-5)


def test_hidden_latent_tokens_might_as_well_not_be_there(decoder, x):
    z = np.random.default_rng(3).normal(size=(2, 3, LATENTS, WIDTH)).astype("float32")

    @jax.jit
    def outputs(d, x, z, visible):
        return outputs_after_latents(d, d.body(d.embed(x))[1], x, jnp.asarray(ENDS), z, AHEAD, visible)

    np.testing.assert_allclose(outputs(decoder, x, z, 1), outputs(decoder, x, z[:, :, :1], 1), atol=1e-5)
    np.testing.assert_allclose(outputs(decoder, x, z, LATENTS), outputs(decoder, x, z, None), atol=1e-5)
    assert np.abs(outputs(decoder, x, z, 1) - outputs(decoder, x, z, LATENTS)).max() > 1e-3


def test_mask_by_hand():
    mask = np.asarray(branch_mask(jnp.array([1, 3]), 4, 2)).astype(int)
    expected = [
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 1, 1, 0, 0],
        [1, 1, 1, 0, 0, 0, 1, 0],
        [1, 1, 1, 0, 0, 0, 1, 1],
    ]
    np.testing.assert_array_equal(mask, expected)
