import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from reprise.networks.functional import functional, initialise
from reprise.networks.transformer import Transformer

INPUTS, WIDTH, OUTPUTS, DEPTH, HEADS, TIME = 3, 8, 2, 2, 2, 5


def make(**changes):
    """A network whose every parameter is random, without the cost of drawing them one by one."""
    sizes = {"depth": DEPTH, "heads": HEADS, "hidden": 12, "length": TIME} | changes
    shapes = nnx.eval_shape(lambda: Transformer(INPUTS, WIDTH, OUTPUTS, **sizes, rngs=nnx.Rngs(0)))
    graph, params = nnx.split(shapes)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    drawn = [jnp.asarray(rng.normal(size=leaf.shape) / WIDTH**0.5, jnp.float32) for leaf in leaves]
    return nnx.merge(graph, tree.unflatten(drawn))


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, TIME, INPUTS)), jnp.float32)


@jax.jit
def outputs(model, x, mask):
    """Outputs for a batch, with one mask a sequence."""
    return model(x, mask)


CAUSAL = np.tril(np.ones((TIME, TIME), bool))


def by_hand(model, x):
    """One sequence, head by head and token by token, in NumPy."""
    get = lambda leaf: np.asarray(leaf[...], float)
    norm = lambda h: (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
    p = {name: get(leaf) for name, leaf in model.blocks.items()}
    h = x @ get(model.embedding.weight) + get(model.embedding.bias) + get(model.positions)
    size = WIDTH // HEADS
    for b in range(DEPTH):
        a = norm(h) * p["gain"][b, 0] + p["shift"][b, 0]
        q, k, v = np.split(a @ p["attend"][b], 3, -1)
        read = np.zeros_like(h)
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            for t in range(len(h)):
                share = softmax(k[: t + 1, part] @ q[t, part] / np.sqrt(size))
                read[t, part] = share @ v[: t + 1, part]
        h = h + read @ p["merge"][b]
        a = (norm(h) * p["gain"][b, 1] + p["shift"][b, 1]) @ p["up"][b] + p["up_bias"][b]
        h = h + 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))) @ p["down"][b] + p["down_bias"][b]
    return (norm(h) * get(model.gain) + get(model.shift)) @ get(model.readout.weight) + get(model.readout.bias)


def test_matches_loops_in_numpy(model, x):
    expected = np.stack([by_hand(model, sequence) for sequence in np.asarray(x, float)])
    np.testing.assert_allclose(jax.jit(lambda m, x: m(x))(model, x), expected, atol=1e-5)


def test_blocks_may_be_written_out(model, x):
    written_out = nnx.merge(nnx.graphdef(make(unroll=True)), nnx.state(model))
    program = jax.jit(lambda m, x: m(x))
    np.testing.assert_allclose(program(written_out, x), program(model, x), atol=1e-5)
    assert "while" not in program.lower(written_out, x).as_text()


def test_a_cache_stands_for_the_tokens_before(model, x):
    whole, cache = jax.jit(lambda m, x: m.body(m.embed(x)))(model, x)

    @jax.jit
    def in_two(model, x):
        first, past = model.body(model.embed(x[:, :2]))
        later, new = model.body(model.embed(x[:, 2:], start=2), past)
        return jnp.concatenate([first, later], 1), past.followed_by(new)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), in_two(model, x), (whole, cache))


def test_every_sequence_may_have_its_own_mask(model, x):
    alone = np.eye(TIME, dtype=bool)
    causal = outputs(model, x, np.stack([CAUSAL] * 4))
    mixed = outputs(model, x, np.stack([CAUSAL, CAUSAL, alone, CAUSAL]))
    kept = np.array([0, 1, 3])
    np.testing.assert_allclose(mixed[kept], causal[kept], atol=1e-6)
    np.testing.assert_allclose(mixed[2, 0], causal[2, 0], atol=1e-6)  # the first token is always alone
    assert np.abs(mixed[2, 1:] - causal[2, 1:]).max() > 0.01


def test_nothing_comes_back_from_the_future(model, x):
    sensitivity = jax.jit(jax.jacobian(lambda x: model(x).sum(-1)))(x[0])  # [time, time, inputs]
    size = np.abs(sensitivity).sum(-1)
    np.testing.assert_array_equal(np.triu(size, 1), 0)
    assert (size[CAUSAL] > 0).all()


def test_without_positions_and_mask_it_is_equivariant(x):
    apply, params = functional(make(length=0, causal=False))
    order = np.array([3, 0, 4, 2, 1])
    apply = jax.jit(apply)
    np.testing.assert_allclose(apply(params, x[:, order]), apply(params, x)[:, order], atol=1e-5)


def test_positions_may_be_given_one_by_one(model, x):
    at = np.array([[3, 1, 0, 4, 2]] * 4)
    expected = model.embedding(x) + np.asarray(model.positions[...])[at]
    np.testing.assert_allclose(model.embed(x, jnp.asarray(at)), expected, atol=1e-6)


def test_initial_scales():
    make = lambda rngs: Transformer(50, 64, 60, depth=2, heads=2, length=64, rngs=rngs)
    _, params = initialise(make, np.random.default_rng(0))
    blocks, std = params["blocks"], lambda leaf: np.std(leaf[...])
    for leaf, variance in (
        (params["embedding"]["weight"], 1 / 50), (params["positions"], 1 / 64), (params["readout"]["weight"], 1 / 64),
        (blocks["attend"], 1 / 64), (blocks["merge"], 1 / 64 / 4), (blocks["up"], 1 / 64),
        (blocks["down"], 1 / 256 / 4),
    ):  # fmt: skip
        assert std(leaf) == pytest.approx(variance**0.5, rel=0.05)
    for leaf, value in ((blocks["gain"], 1), (blocks["shift"], 0), (blocks["up_bias"], 0), (params["gain"], 1)):
        np.testing.assert_array_equal(leaf[...], value)


def test_refusals(model):
    with pytest.raises(ValueError, match="multiple of heads"):
        make(heads=3)
    with pytest.raises(ValueError, match="embeddings"):
        model.embed(jnp.zeros((1, TIME + 1, INPUTS)))
